"""The list of runs, the page of a run, sweeps and recorded tables, over HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from bfedrec.runs.timelines import append_timeline
from bfedrec.web.explorer.runs import amount
from bfedrec.web.explorer.visits import address
from tests.helpers import shown
from tests.helpers.audited import RESULTS, TOY, Keeper
from tests.helpers.shown import served
from tests.helpers.timelines import TIMELINE

ROOT = Path(__file__).parents[4]
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real run of six rounds."""
    root = tmp_path_factory.mktemp("real") / "runs"
    root.mkdir()
    shown.play(root / "real", "seed=1")
    return root


def rows_of(page: str) -> list[str]:
    """The names of the runs in a page's list, in order."""
    found = re.findall(r'<a href="/run/[^"]*"><bdi>(.*?)</bdi></a>', page)
    return [unescape(each) for each in found]


def test_runs_are_listed_filtered_sorted_and_chosen(tmp_path: Path) -> None:
    shown.write_run(tmp_path / "one", "seed=3", end=shown.summary(**{"hr@10": 0.2}))
    shown.write_run(tmp_path / "two", "seed=1", end=shown.summary(**{"hr@10": 0.9}))
    shown.write_run(tmp_path / "deep/three", "data.dataset=ml-1m", "seed=2")
    with served(tmp_path) as client:
        page = client.get("/").text
        assert rows_of(page) == ["three", "one", "two"]
        assert "3 runs: 2 done, 1 interrupted; 0 sweeps." in re.sub(r"\s+", " ", page)
        assert "<i>0.0400</i>" in page  # of validation items, so far
        assert rows_of(client.get("/?sort=hr&order=down").text) == ["two", "one", "three"]
        assert rows_of(client.get("/?sort=seed").text) == ["two", "three", "one"]
        assert rows_of(client.get("/?state=done&sort=seed&order=down").text) == ["one", "two"]
        assert rows_of(client.get("/?data=ml-1m").text) == ["three"]
        assert rows_of(client.get("/?text=TINY%20w").text) == ["two"]
        assert rows_of(client.get("/?text=two").text) == ["two"]
        assert "No run is of this kind." in client.get("/?text=nothing").text
        # Each heading leads to its order, and to the other one from there.
        assert 'href="/?sort=seed"' in page
        again = client.get("/?sort=seed").text
        assert 'href="/?sort=seed&amp;order=down"' in again
        assert 'aria-sort="ascending"' in again
        # What makes no sense is left out.
        for odd in ("sort=x", "order=x", "page=-1", "page=99999999", "page=%D9%A3", "state=x"):
            assert client.get(f"/?{odd}").status == 200
        chosen = re.findall(r'name="run" value="([^"]+)"', page)
        assert chosen == ["deep/three", "one", "two"]


def test_every_column_sorts(tmp_path: Path) -> None:
    shown.write_run(tmp_path / "one", end=shown.summary())
    shown.write_run(tmp_path / "two", lines=[])
    with served(tmp_path) as client:
        keys = re.findall(r'<th scope="col"[^>]*><a href="/\?sort=(\w+)', client.get("/").text)
        assert len(keys) >= 14
        for key in keys:
            for order in ("up", "down"):
                page = client.get(f"/?sort={key}&order={order}")
                assert sorted(rows_of(page.text)) == ["one", "two"]


def test_many_runs_are_shown_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bfedrec.web.explorer.runs.PER_PAGE", 2)
    for number in range(5):
        shown.write_run(tmp_path / f"run-{number}")
    with served(tmp_path) as client:
        assert rows_of(client.get("/").text) == ["run-0", "run-1"]
        assert rows_of(client.get("/?page=3").text) == ["run-4"]
        last = client.get("/?page=9").text
        assert rows_of(last) == ["run-4"]
        assert 'href="/?page=2"' in last


def test_an_empty_folder_says_how_to_make_a_run(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        assert "bfedrec run experiments/quickstart.yaml" in client.get("/").text


def test_a_real_run_tells_its_figures_costs_heights_config_and_manifest(real: Path) -> None:
    summary = json.loads((real / "real/summary.json").read_text())
    with served(real) as client:
        assert "/run/real" in client.get("/").text
        answer = client.get("/run/real")
        page = re.sub(r"\s+", " ", unescape(answer.text))
        assert answer.status == 200
        assert f"<dt>HR@10</dt><dd>{summary['hr@10']:.4f}</dd>" in page
        assert summary["head"] in page
        assert "6 of 6 rounds" in page
        assert "between servers: vote" in page
        assert "No message was refused." in page
        assert 'href="/timeline/6/real"' in page
        assert "<code>committee.size</code></th><td><code>4</code></td><td><code>20" in page
        assert "The whole config" in page
        assert "data digest" in page
        assert f"bfedrec audit {real / 'real'}" in page
        assert 'data-live="' not in page  # it is done
        scores = json.loads(client.get("/curves/real").body)
        assert [axis["key"] for axis in scores["x"]] == ["round", "bytes", "gossip", "seconds"]
        assert scores["series"][0]["values"]["round"] == [2, 4, 6]
        costs = json.loads(client.get("/curves/real?chart=costs").body)
        exact = next(each for each in costs["series"] if "attempts" in each["values"])
        assert exact["values"]["round"] == [1, 2, 3, 4, 5, 6]  # every height
        (gossip,) = [each for each in costs["series"] if each["name"] == "between servers"]
        assert sum(gossip["values"]["bytes"]) == summary["gossip_bytes"]


def test_a_run_without_timelines_says_so(real: Path, tmp_path: Path) -> None:
    shutil.copytree(real / "real", tmp_path / "old")
    (tmp_path / "old/timeline.jsonl").unlink()
    with served(tmp_path) as client:
        page = client.get("/run/old").text
        assert "This run has no timelines" in page
        assert "The reasons are in a run's timelines" in unescape(page)
        costs = json.loads(client.get("/curves/old?chart=costs").body)
        means = next(each for each in costs["series"] if "attempts" in each["values"])
        assert means["values"]["round"] == [2, 4, 6]


def test_an_interrupted_run_is_told_live_and_how_to_go_on(tmp_path: Path) -> None:
    shown.write_run(tmp_path / "run")
    with served(tmp_path) as client:
        page = client.get("/run/run").text
        assert 'data-live="/live/run"' in page
        assert "--resume" in page
        assert "Validation items, when they were last scored." in page


def test_a_run_that_is_served_itself(tmp_path: Path) -> None:
    run = shown.write_run(tmp_path / "run", end=shown.summary())
    with served(run) as client:
        assert rows_of(client.get("/").text) == ["run"]
        assert client.get("/run/run").status == 200
        assert client.get("/run/other").status == 404


HOSTILE = [
    SCRIPT.replace("/", "∕"),
    "a&b?c#d%20",
    "'\"><img src=x>",
    "ü\u0301 名",
    "a" * 200,
    "a...",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_escaped_and_found_again(tmp_path: Path, name: str) -> None:
    shown.write_run(tmp_path / name, end=shown.summary())
    with served(tmp_path) as client:
        page = client.get("/").text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        (link,) = re.findall(r'href="(/run/[^"]+)"', page)
        assert unescape(link) == address("run", name)
        answer = client.get(unescape(link))
        assert answer.status == 200
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text


@pytest.mark.parametrize("name", ["new\nline", "a\u202eb", "\x1b[31m", "\udcff"])
def test_names_that_cannot_be_shown_are_a_line_without_a_link(tmp_path: Path, name: str) -> None:
    shown.write_run(tmp_path / name)
    with served(tmp_path) as client:
        page = client.get("/").text
        assert "rename the folder" in page
        assert "/run/" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page


def test_hostile_values_are_escaped_and_cut(tmp_path: Path) -> None:
    long, turned = "x" * 10_000, "a\u202eb"
    end = shown.summary(head=SCRIPT, **{SCRIPT: 0.5, f"{SCRIPT}@10": 0.5, "gossip_bytes_<b>": 1})
    run = shown.write_run(tmp_path / "run", lines=[shown.line(2, **{SCRIPT: 1})], end=end)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest |= {SCRIPT: SCRIPT, "long": long, "turned": turned, "versions": {SCRIPT: [SCRIPT]}}
    manifest |= {"resumes": [SCRIPT, {"resumed": SCRIPT}, 3], "git": SCRIPT, "data_digest": [1]}
    (run / "manifest.json").write_text(json.dumps(manifest))
    with served(tmp_path) as client:
        answer = client.get("/run/run")
        assert answer.status == 200
        assert "<script>alert" not in answer.text
        assert "<b>" not in answer.text
        assert "x" * 500 not in answer.text
        assert "\u202e" not in answer.text
        assert "<script>alert" not in client.get("/compare?run=run").text


def test_broken_and_foreign_folders_are_lines_and_no_errors(tmp_path: Path) -> None:
    for name, file, content in (
        ("nan", "summary.json", '{"hr@10": NaN}'),
        ("torn", "summary.json", "{"),
        ("config", "config.yaml", "["),
        ("manifest", "manifest.json", "[1]"),
        ("chain", "stopped.json", "{}"),
    ):
        (shown.write_run(tmp_path / name) / file).write_text(content)
    os.mkfifo(shown.write_run(tmp_path / "fifo") / "summary.json")
    with served(tmp_path) as client:
        page = client.get("/").text
        assert page.count('<span class="badge bad">broken</span>') == 6
        for name in ("nan", "torn", "config", "manifest", "chain", "fifo"):
            answer = client.get(f"/run/{name}")
            assert answer.status == 422
            assert "This cannot be shown" in answer.text
            for other in (f"/compare?run={name}", f"/curves?run={name}"):
                assert client.get(other).status == 200


def test_parts_that_cannot_be_read_are_a_line_on_the_page(tmp_path: Path) -> None:
    run = shown.write_run(tmp_path / "run", end=shown.summary())
    with (run / "metrics.jsonl").open("wb") as file:
        file.truncate(100_000_000)
    (run / "timeline.jsonl").write_text("rubbish\n")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("model:\n", "model:\n  bygone: 1\n"))
    with served(tmp_path) as client:
        page = unescape(client.get("/run/run").text)
        assert "metrics.jsonl: longer than 67,108,864 bytes" in page
        assert "timeline.jsonl, line 1" in page
        assert "config.yaml: model.bygone: unknown key" in page
        assert json.loads(client.get("/curves/run").body)["series"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/run/..%2foutside",
        "/run/%2e%2e/outside",
        "/run/link",
        "/run/run/config.yaml",
        "/run/empty",
        "/curves/..%2foutside",
        "/live/..%2foutside",
        "/sweep/..%2foutside",
        "/sweep/run",
        "/record/tables/..%2f..%2foutside",
        "/record/tables/x.yaml",
        "/record/nothing/x",
    ],
)
def test_nothing_outside_of_the_folder_is_shown(tmp_path: Path, path: str) -> None:
    outside = shown.write_run(tmp_path / "outside", end=shown.summary())
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link").symlink_to(outside)
    (tmp_path / "root/empty").mkdir()
    shown.write_run(tmp_path / "root/run")
    with served(tmp_path / "root") as client:
        assert client.get(path).status in (404, 422)


def test_nothing_is_written(tmp_path: Path) -> None:
    run = shown.write_run(tmp_path / "run", end=shown.summary())

    def state() -> dict[str, tuple[int, int]]:
        every = [run, *run.iterdir()]
        return {each.name: (each.stat().st_mtime_ns, each.stat().st_size) for each in every}

    before = state()
    with served(tmp_path) as client:
        for path in ("/", "/run/run", "/curves/run", "/compare?run=run"):
            assert client.get(path).status == 200
    assert state() == before


# -- sweeps and records ----------------------------------------------------------------------------


def test_a_recorded_sweep_has_its_table_and_links_to_its_runs() -> None:
    name = "ml-1m-22383818"
    with served(ROOT / "results") as client:
        answer = client.get(f"/sweep/reference/{name}")
        page = unescape(answer.text)
        assert answer.status == 200
        assert "0.6716 [0.6659, 0.6773]" in page
        assert f'href="/run/reference/{name}/ml-1m-9dcdbd51-s4"' in page
        compare = re.search(r'class="button" href="(/compare[^"]+)"', page)
        assert compare is not None
        compared = unescape(client.get(compare[1]).text)
        assert "(5 seeds)" in client.get(compare[1].replace("/compare", "/curves")).text
        assert "0.6716" in compared
        third = next(each for each in os.listdir(ROOT / "results/reference") if "third_" in each)
        lines = client.get(f"/sweep/reference/{third}").text
        assert "no curves were recorded" in lines
        assert "committee.size" in lines


def test_settings_are_told_apart_by_what_they_do_not_share(tmp_path: Path) -> None:
    many = [f"data.synthetic.users={number}" for number in range(100, 120)]
    settings = [
        {
            "overrides": [*many, f"model.rank={rank}"],
            "config_hash": f"{rank}" * 64,
            "runs": {},
            "stopped": {},
            "figures": {},
        }
        for rank in (2, 4)
    ]
    (tmp_path / "sweep").mkdir()
    place = tmp_path / "sweep" / "sweep.json"
    with served(tmp_path) as client:
        place.write_text(json.dumps({"confidence": 0.95, "settings": settings}))
        both = client.get("/sweep/sweep").text
        place.write_text(json.dumps({"confidence": 0.95, "settings": settings[:1]}))
        one = client.get("/sweep/sweep").text
    assert re.findall(r'<th scope="row">(model.*?)<div', both) == ["model.rank=2", "model.rank=4"]
    assert f"All settings have <code>{' '.join(many)}</code>" in both
    assert '<th scope="row">data.synthetic.users=100' in one
    assert "All settings have" not in one


def test_broken_sweeps_are_a_line(tmp_path: Path) -> None:
    for name, file, content in (
        ("a", "sweep.json", '{"settings": 1}'),
        ("b", "runs.jsonl", "rubbish\n"),
        ("c", "sweep.csv", ""),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(content)
    with served(tmp_path) as client:
        page = client.get("/").text
        assert page.count("/sweep/") == 3
        assert "sweep.json: not a sweep" in page
        for name in "abc":
            answer = client.get(f"/sweep/{name}")
            assert answer.status == 200
            assert 'class="note bad"' in answer.text


def test_a_sweep_with_hostile_words_is_escaped(tmp_path: Path) -> None:
    stop = {"run": "x", "how": SCRIPT, "rounds": 1, "height": 2, "because": SCRIPT}
    setting = {
        "overrides": [SCRIPT],
        "config_hash": SCRIPT,
        "runs": {"0": SCRIPT},
        "stopped": {"1": stop},
        "figures": {f"{SCRIPT}@10": {"n": 1, "mean": 0.5, "low": None, "high": None}},
    }
    table = {"confidence": 0.95, "settings": [setting]}
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/sweep.json").write_text(json.dumps(table))
    line = {"overrides": [SCRIPT], "stopped": SCRIPT, "rounds": SCRIPT, f"{SCRIPT}@1": 0.5}
    (tmp_path / "sweep/runs.jsonl").write_text(json.dumps(line) + "\n")
    with served(tmp_path) as client:
        answer = client.get("/sweep/sweep")
        assert answer.status == 200
        assert "<script>alert" not in answer.text
        assert "alert(1)" in answer.text


def test_recorded_tables_and_figures_are_shown_where_they_lie(tmp_path: Path) -> None:
    results = tmp_path / "results"
    (results / "tables").mkdir(parents=True)
    (results / "figures").mkdir()
    (results / "runs").mkdir()
    (results / "tables/one.csv").write_text(f"a,b\n0.123456789012,{SCRIPT}\n")
    (results / "tables/one.md").write_text("| a |")
    (results / "tables/UPPER.csv").write_text("a\n")
    (results / "tables/link.csv").symlink_to(results / "tables/one.csv")
    (results / "tables/broken.csv").write_bytes(b"\xff")
    (results / "figures/two.png").write_bytes(b"\x89PNG")
    (results / "figures/secret.txt").write_text("no")
    for root in (results, results / "runs"):
        with served(root) as client:
            page = client.get("/").text
            assert 'href="/record/tables/one"' in page
            assert 'href="/record/figures/two"' in page
            assert "UPPER" not in page
            table = client.get("/record/tables/one").text
            assert "<td>0.123457</td>" in table
            assert "<script>alert" not in table
            assert client.get("/record/tables/one.md").text == "| a |"
            figure = client.get("/record/figures/two.png")
            assert figure.headers["Content-Type"] == "image/png"
            assert 'src="/record/figures/two.png"' in client.get("/record/figures/two").text
            assert "broken.csv: no table" in client.get("/record/tables/broken").text
            for path in ("figures/secret.txt", "tables/link.csv", "tables/UPPER.csv", "runs/x"):
                assert client.get(f"/record/{path}").status == 404
    with served(results / "tables") as client:  # not a folder of runs of `results`
        assert client.get("/record/figures/two").status == 200
    with served(tmp_path) as client:
        assert client.get("/record/tables/one").status == 404


def test_every_recorded_table_and_figure_of_this_repository_is_shown() -> None:
    with served(ROOT / "results") as client:
        links = re.findall(r'href="(/record/[^"]+)"', client.get("/").text)
        assert len(links) >= 16
        for link in links:
            answer = client.get(link)
            assert answer.status == 200
            assert "<table>" in answer.text


def test_amounts_are_read_without_powers_of_ten() -> None:
    told = [amount(value) for value in (12190.5, -12190.5, 999.96, 0.25, 12190.0, 1e15 + 0.5)]
    assert told == ["12,190", "-12,190", "1,000", "0.25", "12,190", "1,000,000,000,000,000"]


def words_of(page: str) -> str:
    """The text of a page, on one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", unescape(page)))


def test_a_page_tells_of_no_servers_where_there_were_none(tmp_path: Path) -> None:
    run = shown.write_run(tmp_path / "learnt", end=shown.summary(ledger="none"))
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "ledger": "none"}))
    with served(tmp_path) as client:
        page, rows = words_of(client.get("/run/learnt").text), words_of(client.get("/").text)
    assert "no server that could refuse a message" in page
    assert "protocol bft" not in page
    assert " bft " not in rows


def test_an_imported_chain_says_that_it_is_all_there_is(tmp_path: Path) -> None:
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported" / "chain.sqlite").write_bytes(b"")
    with served(tmp_path) as client:
        text = client.get("/run/imported").text
    page = words_of(text)
    assert "imported last change" in page
    assert "An imported chain has no config." in page
    assert "An imported chain has no timelines" in page
    assert "earlier version" not in page
    assert "no such file" not in page
    assert "note bad" not in text


def test_refusals_at_a_height_that_was_not_decided_are_told_apart(tmp_path: Path) -> None:
    run = shown.write_run(tmp_path / "run", end=shown.summary(refused_messages=0))
    for height, outcome in ((1, "decided"), (2, "stalled")):
        append_timeline(run, replace(TIMELINE, height=height, outcome=outcome))
        with served(tmp_path) as client:
            page = words_of(client.get("/run/run").text)
        told = "Those of height 2, which was not decided, are among them" in page
        assert told is (outcome == "stalled")


def test_scored_rounds_have_a_dash_where_a_figure_lacks(tmp_path: Path) -> None:
    lines = [shown.line(2), {"height": 4, "hr@10": 0.25}]
    shown.write_run(tmp_path / "run", lines=lines)
    with served(tmp_path) as client:
        page = client.get("/run/run").text
    table = page[page.index('id="part-rounds"') :]
    table = words_of(table[: table.index("</table>")])
    assert " 4 0.2500 – – " in table
    assert " 2 0.0200 0.0100 0.25 " in table
    assert "nan" not in table


def test_the_lines_of_a_compact_record_are_no_problem(tmp_path: Path) -> None:
    for name in ("compact", "alone"):
        (tmp_path / name).mkdir()
    (tmp_path / "compact" / "runs.jsonl").write_text('{"overrides": [], "rounds": 6}\n')
    (tmp_path / "alone" / "sweep.csv").write_text("rounds\n6\n")
    with served(tmp_path) as client:
        compact, alone = (client.get(f"/sweep/{name}").text for name in ("compact", "alone"))
    assert "note bad" not in compact
    assert "A sweep of 1 run." in words_of(compact)
    assert "It has no sweep.json" in alone


@pytest.mark.parametrize(
    ("kind", "tabs"),
    [
        ("run", ["run", "chain", "network", "users"]),
        ("learnt", ["run", "users"]),
        ("imported", ["run", "chain"]),
        ("sweep", []),
    ],
)
def test_a_page_has_the_tabs_of_what_there_is(tmp_path: Path, kind: str, tabs: list[str]) -> None:
    folder, page = tmp_path / kind, "sweep" if kind == "sweep" else "run"
    if kind == "sweep":
        folder.mkdir()
        (folder / "sweep.csv").write_text("setting,config_hash,figure,n,mean,low,high\n")
    elif kind == "imported":
        folder.mkdir()
        Keeper(folder / "chain.sqlite", TOY.genesis).write_all(RESULTS)
    else:
        shown.write_run(folder, end=shown.summary())
    if kind == "learnt":
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "ledger": "none"}))
    with served(tmp_path) as client:
        text = client.get(f"/{page}/{kind}").text
    navigation = text[text.index("<nav") : text.index("</nav>")]
    assert re.findall(r'href="/(\w+)/', navigation) == tabs
