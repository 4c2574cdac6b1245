"""`bfedrec report`: one file that holds a run or a sweep, in the same bytes each time."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bfedrec.cli import report as command
from bfedrec.cli.main import main
from bfedrec.config.load import load, parse
from bfedrec.evaluation.intervals import Interval
from bfedrec.report.page import drawing
from bfedrec.report.page.facts import read_run
from bfedrec.report.page.render import render
from bfedrec.report.page.run import Checked, chain, page_of
from bfedrec.runs.figures import Stop
from bfedrec.runs.totals import Totals
from tests.helpers import tiny
from tests.helpers.browser import browsing
from tests.helpers.commands import fork_runs

TINY = f"rounds: 6\n{tiny.TINY}evaluation: {{every: 2, targets: [3]}}\ncrypto: modelled\n"
ROOT = Path(__file__).resolve().parents[3]
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x07"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, and a sweep of two settings and two seeds; not to be written to."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny.yaml").write_text(TINY)
    config = str(folder / "tiny.yaml")
    assert main(["run", config, "--out", str(folder / "run")]) == 0
    axis = ["model.dimension=4,6", "--seeds", "0-1", "--out", str(folder / "sweep")]
    with pytest.MonkeyPatch.context() as patch:
        fork_runs(patch)
        assert main(["sweep", config, *axis]) == 0
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


def report(run: Path, *words: str, status: int = 0) -> str:
    """The text of a run's report."""
    out = run.parent / "report.html"
    assert main(["report", str(run), "--out", str(out), *words]) == status
    return out.read_text(encoding="utf-8")


class Seen(HTMLParser):
    """The elements of a page, and its text outside of style sheets and drawings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("style", "svg"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


# -- the same bytes -------------------------------------------------------------------------------


def test_the_same_run_gives_the_same_bytes_wherever_and_however_it_is_asked_for(
    made: Path, tmp_path: Path
) -> None:
    here = report(made / "run")
    copy = Path(shutil.copytree(made / "run", tmp_path / "another name" / "x"))
    (copy / "log.txt").write_text("another day")
    (tmp_path / "matplotlibrc").write_text("axes.linewidth: 5\nsvg.fonttype: none\n")
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "77",
        "LC_ALL": "C",
        "COLUMNS": "40",
        "TZ": "Asia/Tokyo",
        "MPLCONFIGDIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    words = [sys.executable, "-m", "bfedrec", "report", "x", "--out", "there.html"]
    subprocess.run(words, cwd=copy.parent, env=environment, check=True, capture_output=True)
    assert (copy.parent / "there.html").read_text(encoding="utf-8") == here
    for place in (str(made), str(tmp_path), str(Path.home())):
        assert place not in here


def test_a_sweep_gives_the_same_bytes_too(made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made / "sweep", tmp_path / "copy"))
    assert report(copy) == report(made / "sweep")


# -- one file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_the_file_needs_nothing_beside_it_and_has_no_script(made: Path, kind: str) -> None:
    text = report(made / kind)
    assert len(text.encode()) < 1_000_000
    seen = Seen(text)
    for tag, attributes in seen.tags:
        assert tag not in ("script", "link", "iframe", "object", "base", "form", "img")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "xlink:href", "src"):
                assert value
                assert value.startswith(("#", "data:text/plain;base64,"))
    addresses = set(re.findall(r"[a-z]+://[^\s\"'<)]+", text))
    assert addresses <= {"http://www.w3.org/1999/xlink", "http://127.0.0.1:5001"}
    assert "@import" not in text
    ids = [value["id"] for _, value in seen.tags if "id" in value]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:href="#|url\(#|labelledby=")([^")]+)', text))
    assert used <= set(ids)
    assert len(re.findall("<svg", text)) == (1 if kind == "run" else 2)


def test_a_run_is_told_whole(made: Path) -> None:
    text = report(made / "run")
    seen = Seen(text).text
    summary = json.loads((made / "run" / "summary.json").read_text())
    manifest = json.loads((made / "run" / "manifest.json").read_text())
    assert "finished" in seen
    assert "6 of 6 rounds" in seen
    assert f"hr@10 {summary['hr@10']:.6f}" in seen
    assert f"HR@10 {summary['hr@10']:.4f}" in seen
    assert f"Head: {summary['head']}" in seen
    assert f"blocks {summary['blocks']}" in seen
    assert f"committees that the blocks took {summary['attempts']}" in seen
    assert f"between servers: vote {summary['gossip_bytes_vote']:,}" in seen
    assert "Servers refused no message." in seen
    assert "model.dimension 4 64" in seen
    assert "evaluation.targets [3] []" in seen
    assert manifest["data_digest"] in seen
    assert manifest["config_hash"] in seen
    assert f"numba {manifest['versions']['numba']}" in seen
    assert "bfedrec run config.yaml --out again" in seen
    assert f"bfedrec audit again --head {summary['head']}" in seen
    assert "not finished" not in seen
    content = re.search(r'download="config.yaml" href="data:text/plain;base64,([^"]+)"', text)
    assert content is not None
    config = parse(base64.b64decode(content[1]).decode(), "the report")
    assert config == load(made / "run" / "config.yaml")


def test_the_attempts_of_heights_are_counted_from_the_state(made: Path) -> None:
    facts = read_run(made / "run")
    assert sum(facts.attempts.values()) == 6
    assert (
        sum(taken * heights for taken, heights in facts.attempts.items())
        == (facts.summary["attempts"])
    )


def test_what_servers_refused_is_told_with_its_reason(made: Path) -> None:
    facts = read_run(made / "run")
    totals = Totals(refused={"a stale ticket": 1234}, malicious_updates_by_attack={"noise": 7})
    told = str(chain(replace(facts, totals=totals)))
    assert "('a stale ticket', '1,234')" in told
    assert "('noise', '7')" in told
    assert "refused no message" not in told


def test_many_evaluations_are_thinned_and_the_file_stays_small(made: Path) -> None:
    facts = read_run(made / "run")
    last = facts.metrics[-1]
    lines = [{**last, "height": height, "attempts": height} for height in range(1, 20_001)]
    text = render(page_of(replace(facts, metrics=lines), Checked(None, unmade="not asked for")))
    assert "Evaluations, 200 of 20000" in text
    assert '<td class="number">20,000</td>' in text
    assert len(text.encode()) < 6_000_000


# -- the audit ------------------------------------------------------------------------------------


def test_a_passed_audit_is_told_and_can_be_left_out(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Seen(report(made / "run")).text
    assert "The audit passed. Verified from the bytes of the chain: 6 blocks" in text
    assert "modelled" in text[text.index("The audit passed") :]
    monkeypatch.setattr("bfedrec.runs.auditing.audited", None)
    text = Seen(report(made / "run", "--no-audit")).text
    assert "Not audited: left out by --no-audit." in text
    assert "passed" not in text


def test_a_failed_audit_is_loud(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(run / "chain.sqlite")) as database, database:
        database.execute("UPDATE blocks SET data = ? WHERE height = 3", (b"\xa0",))
    text = report(run, status=1)
    seen = Seen(text)
    alerts = [tag for tag, attributes in seen.tags if attributes.get("role") == "alert"]
    assert len(alerts) == 1
    assert "The audit FAILED: height 3" in seen.text
    assert "audit failed: " in capsys.readouterr().err
    assert str(tmp_path) not in text


def test_a_chain_that_cannot_be_read_is_a_failed_audit(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "chain.sqlite").write_bytes(b"no database at all" * 100)
    text = report(run, status=1)
    monkeypatch.chdir(tmp_path)
    run.rename("a")
    assert report(Path("a"), status=1) == text
    assert "The audit FAILED: chain.sqlite" in Seen(text).text
    assert str(tmp_path) not in text


def test_without_a_chain_no_audit_is_claimed(run: Path) -> None:
    (run / "chain.sqlite").unlink()
    assert "Not audited: the folder holds no chain.sqlite." in Seen(report(run)).text


# -- runs of other kinds --------------------------------------------------------------------------


def test_a_run_that_goes_on_is_marked_and_its_chain_left_alone(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "summary.json").unlink()
    monkeypatch.setattr("bfedrec.runs.auditing.audited", None)
    monkeypatch.setattr("bfedrec.report.page.facts.RunState", None)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([*lines[:2], lines[2][:20]]))
    text = Seen(report(run)).text
    assert "not finished" in text
    assert "4 of 6 rounds" in text
    assert "may still be going on" in text
    assert "Not audited: the run is not finished" in text
    assert "Metrics on the validation items, so far" in text


def test_a_run_that_has_just_begun_has_a_report(run: Path) -> None:
    for name in ("summary.json", "metrics.jsonl", "state.sqlite", "manifest.json"):
        (run / name).unlink()
    text = Seen(report(run)).text
    assert "0 of 6 rounds" in text
    assert "No round was evaluated" in text
    assert "The folder has no manifest.json." in text


def test_a_run_that_stopped_before_its_first_height_has_a_report(run: Path) -> None:
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").unlink()
    stop = {"rounds": 0, "stopped": "stalled", "stopped_at_height": 1, "stopped_because": "no"}
    (run / "stopped.json").write_text(json.dumps(summary | stop))
    (run / "metrics.jsonl").write_text(json.dumps(line | {"height": 0}) + "\n")
    text = Seen(report(run, "--no-audit")).text
    assert "No round was evaluated" in text
    assert "0 of 6 rounds" in text


def test_a_stopped_run_says_why(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").unlink()
    stop = {"stopped": "stalled", "stopped_at_height": 7, "stopped_because": "no quorum <b>"}
    (run / "stopped.json").write_text(json.dumps(summary | stop))
    text = report(run)
    assert "The run stalled at height 7, after 6 rounds: no quorum &lt;b&gt;" in text
    assert Stop.of(summary | stop).height == 7


def test_learning_without_a_ledger_has_no_chain(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "learnt"
    assert main(["learn", str(made / "tiny.yaml"), "--out", str(out)]) == 0
    text = Seen(report(out)).text
    assert "without a ledger" in text
    assert "Head:" not in text
    assert "bfedrec learn config.yaml --out again" in text
    assert "bfedrec audit" not in text


def test_a_baseline_has_a_report(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "baseline"
    data = [line for line in TINY.splitlines() if line.startswith("data:")]
    (tmp_path / "popularity.yaml").write_text("\n".join([*data, "method: popularity"]))
    assert main(["run", str(tmp_path / "popularity.yaml"), "--out", str(out)]) == 0
    text = Seen(report(out)).text
    assert "popularity, on synthetic" in text
    assert "Not audited: there is no chain" in text


# -- sweeps ---------------------------------------------------------------------------------------


def test_a_sweep_has_means_and_intervals_of_its_runs(made: Path) -> None:
    seen = Seen(report(made / "sweep")).text
    document = json.loads((made / "sweep" / "sweep.json").read_text())
    assert len(document["settings"]) == 2
    for setting in document["settings"]:
        found = setting["figures"]["hr@10"]
        half = found["high"] - found["mean"]
        label = setting["overrides"][0]
        assert f"{label} 2 {found['mean']:.4f} ± {half:.4f}" in seen
        assert f"bfedrec sweep config.yaml {label} --seeds 0,1" in seen
    assert seen.count("The audit passed.") == 4
    assert "rounds 6 1000" in seen


def test_runs_that_are_not_finished_are_left_out_and_counted(made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made / "sweep", tmp_path / "sweep"))
    first = sorted(copy.glob("run-*"))[0]
    (first / "summary.json").unlink()
    text = Seen(report(copy, "--no-audit")).text
    assert "1 further runs of this folder are not finished" in text
    assert "runs that finished 3" in text


def test_one_failed_audit_of_a_sweep_is_loud(made: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made / "sweep", tmp_path / "sweep"))
    first = sorted(copy.glob("run-*"))[0]
    with closing(sqlite3.connect(first / "chain.sqlite")) as database, database:
        database.execute("UPDATE blocks SET data = ? WHERE height = 2", (b"\xa0",))
    text = Seen(report(copy, status=1)).text
    assert f"The audit of {first.name} FAILED: height 2" in text
    assert text.count("The audit passed.") == 3


def test_a_sweep_finds_the_runs_beside_its_table(made: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(made / "sweep", runs)
    table = runs / "run-sweep" / "name"
    table.mkdir(parents=True)
    (runs / "sweep.json").rename(table / "sweep.json")
    assert "runs that finished 4" in Seen(report(table, "--no-audit")).text


def test_a_compact_record_has_a_report(made: Path, tmp_path: Path) -> None:
    words = ["sweep", str(made / "tiny.yaml"), "model.dimension=4,6", "--seeds", "0-1"]
    words += ["--out", str(made / "sweep"), "--record", str(tmp_path), "--compact"]
    assert main(words) == 0
    (place,) = (path for path in tmp_path.iterdir() if path.is_dir())
    text = Seen(report(place)).text
    assert "runs that finished 4" in text
    assert "Not audited: the folder holds no chain.sqlite." in text


# -- foreign and hostile folders ------------------------------------------------------------------


def test_hostile_texts_are_escaped(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["versions"][HOSTILE] = HOSTILE
    manifest["command"] = ["bfedrec", HOSTILE, "--out", "/home/somebody/secret place"]
    manifest["git"]["commit"] = HOSTILE
    (run / "manifest.json").write_text(json.dumps(manifest))
    text = report(run)
    assert "<script" not in text
    assert "<img" not in text
    assert "\u202e" not in text
    assert "\x07" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "/home/somebody" not in text
    assert "secret place" in text


@pytest.mark.parametrize("label", ["$\\frac{$", "<b>&amp;--><script>", "日本語 \u202e", "x" * 500])
def test_any_label_can_be_drawn(label: str) -> None:
    points = [(1, Interval(2, 0.5, 0.4, 0.6)), (2, Interval(1, 0.6, None, None))]
    for svg in (
        drawing.spread([(label, points)], "HR@10", "a"),
        drawing.dots([(label, points[0][1])], "HR@10", "b"),
    ):
        assert "<script" not in svg
        assert "<!--" not in svg
        assert svg.startswith("<svg ")


@pytest.mark.parametrize("kind", ["empty", "missing", "file", "config"])
def test_no_run_is_one_line_and_leaves_the_file(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, out = tmp_path / kind, tmp_path / "report.html"
    out.write_text("as it was")
    if kind == "file":
        place.write_text("nothing")
    elif kind != "missing":
        place.mkdir()
    if kind == "config":
        (place / "config.yaml").write_text("rounds: [")
    assert main(["report", str(place), "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert told.startswith("bfedrec: ")
    assert out.read_text() == "as it was"
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_only_a_page_is_written_and_nothing_else_changed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert main(["report", str(run), "--out", str(run / "config.yaml")]) == 2
    assert "expected .html" in capsys.readouterr().err
    report(run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_missing_library_is_named_with_the_extra_that_has_it(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["report", str(made / "run"), "--out", "x.html"]) == 2
    assert "pip install 'bfedrec[web]'" in capsys.readouterr().err


# -- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def opened(made: Path) -> list[tuple[str, list[str], list[str], int]]:
    """For both reports at two widths: name, messages of the console, requests, width needed."""
    found = []
    with browsing() as browser:
        for kind in ("run", "sweep"):
            report(made / kind)
            for width in (400, 1600):
                page = browser.new_page(viewport={"width": width, "height": 900})
                told: list[str] = []
                asked: list[str] = []
                page.on("console", lambda each, told=told: told.append(each.text))
                page.on("pageerror", lambda error, told=told: told.append(str(error)))
                page.on("request", lambda each, asked=asked: asked.append(each.url))
                page.goto((made / "report.html").as_uri())
                page.locator("summary").first.click()
                needed = page.evaluate("document.documentElement.scrollWidth")
                found.append((f"{kind} {width}", told, asked, needed - width))
                page.close()
    return found


def test_a_browser_opens_it_from_disk_without_errors_or_requests(
    opened: list[tuple[str, list[str], list[str], int]],
) -> None:
    assert len(opened) == 4
    for name, told, asked, wider in opened:
        assert told == [], name
        assert [url for url in asked if not url.startswith("file:")] == [], name
        assert len(asked) == 1, name
        assert wider <= 0, name
