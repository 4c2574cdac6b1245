"""Users of a run: the same lists as `bfedrec recommend`, made by a process beside the server."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bfedrec.cli.main import main
from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.explorer import recommendations, scored
from bfedrec.explorer.recommendations import COMMAND, Library, Scored, check_ranks, moved
from bfedrec.runs.folder import RunError
from bfedrec.runs.ranks import Ranks
from bfedrec.runs.ranks import read as read_ranks
from tests.bfedrec.runs.test_simulation import SMALL

PATIENCE = 300.0
PUSH = "[{attack: push, share: 0.2, items: [7]}]"
KINDS = {
    "sgd": ("evaluation.targets=[3]", f"clients.malicious={PUSH}"),
    "ials": ("training.method=ials", "compression.kind=dense", "evaluation.recency=true"),
    "pfedrec": ("training.method=pfedrec", "training.user_epochs=1", "compression.kind=dense"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind, made once; not to be written to."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "small.yaml").write_text("")

    def make(kind: str) -> Path:
        path = folder / kind
        if not path.exists():
            words = ["learn", str(folder / "small.yaml"), *SMALL, *KINDS[kind]]
            assert main([*words, "--out", str(path)]) == 0
        return path

    return make


@pytest.fixture(scope="module")
def sgd(made: Callable[[str], Path]) -> Scored:
    """The answer about the run of that kind."""
    found = Library().ask(made("sgd"), PATIENCE)
    assert found is not None
    return found


# -- the same lists -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "recency"), [("sgd", False), ("ials", False), ("ials", True), ("pfedrec", False)]
)
def test_lists_are_those_of_the_command_to_the_bit(
    kind: str, recency: bool, made: Callable[[str], Path], tmp_path: Path
) -> None:
    run, out = made(kind), tmp_path / "lists.csv"
    more = ["--ordered"] if recency else []
    assert main(["recommend", str(run), "--top", "10", "--out", str(out), *more]) == 0
    with out.open(newline="") as file:
        rows = [(row["q_id"], row["doc_id"], float(row["score"])) for row in csv.DictReader(file)]
    found = Library().ask(run, PATIENCE)
    assert found is not None
    assert found.recency is (kind == "ials")
    users = [found.user(place, recency) for place in range(len(found.ids))]
    assert [(user.id, each.item.id, each.score) for user in users for each in user.best] == rows


def test_a_list_holds_the_test_item_where_its_full_rank_is_below_ten(
    sgd: Scored, made: Callable[[str], Path]
) -> None:
    ranks = read_ranks(made("sgd"))
    assert ranks is not None
    assert ranks.full_rank is not None
    held = [any(each.held_out for each in sgd.user(u).best) for u in range(len(sgd.ids))]
    assert held == (ranks.full_rank < 10).tolist()
    assert any(held)
    rows = moved(sgd, ranks, None, most=5)
    assert [row.id for row in rows] == list(sgd.ids[:5])
    assert [row.rank for row in rows] == (ranks.rank[:5] + 1).tolist()
    assert [row.full_rank for row in rows] == (ranks.full_rank[:5] + 1).tolist()
    assert {row.beside for row in rows} == {None}


def test_a_history_is_what_a_user_did_and_no_list_repeats_it(
    sgd: Scored, made: Callable[[str], Path]
) -> None:
    data = prepare(load(made("sgd") / "config.yaml").data)
    for place in range(data.users):
        user = sgd.user(place)
        rows = slice(*data.indptr[place : place + 2])
        order = data.places[rows]
        by_time = data.indices[rows][np.argsort(order)]
        assert user.ordered
        assert [each.id for each in user.history] == [str(data.item_ids[i]) for i in by_time]
        known = {each.id for each in user.history}
        assert user.validation is not None
        assert not (known | {user.validation.id}) & {each.item.id for each in user.best}


def test_targets_and_malicious_clients_are_marked(sgd: Scored) -> None:
    assert [index for index in range(60) if sgd.item(index).target] == [3, 7]
    attacks = [sgd.attack(place) for place in range(len(sgd.ids))]
    assert attacks.count("push") == 16
    assert attacks.count("") == 64


def test_a_list_beside_another_says_where_each_item_stands_there(
    sgd: Scored, made: Callable[[str], Path]
) -> None:
    other = Library().ask(made("pfedrec"), PATIENCE)
    assert other is not None
    assert other.digest == sgd.digest
    here, there = sgd.user(5, beside=other), other.user(5, beside=sgd)
    places = {each.item.id: each.place for each in there.best}
    assert [each.there for each in here.best] == [places.get(each.item.id) for each in here.best]
    assert any(each.there is None for each in here.best)
    assert [each.there for each in sgd.user(5, beside=sgd).best] == list(range(1, 11))


def test_users_whose_item_moved_most_come_first(sgd: Scored) -> None:
    users = len(sgd.ids)
    before = Ranks(np.zeros(users, np.int64), np.arange(users))
    after = np.arange(users)
    after[[4, 9]] = 50, 0
    rows = moved(sgd, before, Ranks(np.zeros(users, np.int64), after), most=3)
    assert [row.id for row in rows] == [sgd.ids[4], sgd.ids[9], sgd.ids[0]]
    assert [row.change for row in rows] == [46, -9, 0]
    sampled = Ranks(before.rank, None)
    assert moved(sgd, before, sampled, most=1)[0].beside == 1
    with pytest.raises(RunError, match=r"ranks\.npz has 3 users, the data 80"):
        check_ranks(Ranks(np.zeros(3, np.int64), None), sgd)


# -- what cannot be shown -------------------------------------------------------------------------


def told_of(run: Path) -> dict[str, object]:
    """What the process tells of a run, asked in this one."""
    with np.load(io.BytesIO(scored.answer(run))) as file:
        found: dict[str, object] = json.loads(file["told"].tobytes())
        return found


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("summary.json", "not a finished run"),
        ("model.safetensors", "no such file"),
        ("state.sqlite", "no such file, and it holds"),
    ],
)
def test_without_a_model_there_are_users_and_no_lists(
    lost: str, told: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(made("pfedrec"), tmp_path / "run"))
    (run / lost).unlink()
    found = told_of(run)
    assert told in str(found["unscored"])
    assert str(tmp_path) not in str(found)
    assert len(found["users"]) == 80  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["nothing", "other data", "no manifest"])
def test_a_folder_without_a_run_or_its_data_is_one_line(
    kind: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    if kind == "nothing":
        run.mkdir()
    else:
        shutil.copytree(made("sgd"), run)
        manifest = json.loads((run / "manifest.json").read_text())
        manifest["data_digest"] = "0" * 64
        (run / "manifest.json").write_text(json.dumps(manifest))
    if kind == "no manifest":
        (run / "manifest.json").unlink()
    text = str(told_of(run)["unusable"])
    assert "\n" not in text
    assert str(tmp_path) not in text


def test_nothing_is_downloaded_for_a_page(
    made: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(made("sgd"), tmp_path / "run"))
    (run / "config.yaml").write_text("data: {dataset: ml-1m}\n")
    monkeypatch.delenv("BFEDREC_DATA")
    monkeypatch.setattr("bfedrec.data.prepare.default_cache", lambda: tmp_path)
    monkeypatch.setattr("bfedrec.data.files.download", None)
    assert "not at hand" in str(told_of(run)["unusable"])


def test_a_file_that_a_config_names_leaves_no_word_on_a_page(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("user,item\nhunter2,s3cret\n")
    run = Path(shutil.copytree(made("sgd"), tmp_path / "run"))
    csv_file = f"{{path: {secret}, user: user, item: item}}"
    (run / "config.yaml").write_text(f"data: {{dataset: csv, csv: {csv_file}}}\n")
    text = str(told_of(run))
    assert "cannot be read as its config says" in text
    assert "hunter2" not in text


# -- the process ----------------------------------------------------------------------------------


def fake(tmp_path: Path, body: str) -> tuple[str, ...]:
    """A command that stands for the process; it notes every start in a file."""
    code = f"import pathlib, sys, time\nwith open({str(tmp_path / 'starts')!r}, 'a') as file:\n"
    code += f" file.write('x')\n{body}\n"
    return (sys.executable, "-c", code)


def starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text())


def echo(tmp_path: Path) -> tuple[str, ...]:
    """A command that answers with what scoring would: a few bytes of one user."""
    told = {"digest": "d", "users": ["u"], "items": [], "titles": [], "targets": []}
    file = io.BytesIO()
    np.savez(file, told=np.frombuffer(json.dumps(told).encode(), np.uint8), fill=np.zeros(100))
    (tmp_path / "answer").write_bytes(file.getvalue())
    answer = str(tmp_path / "answer")
    return fake(tmp_path, f"sys.stdout.buffer.write(pathlib.Path({answer!r}).read_bytes())")


def test_an_answer_is_kept_until_the_run_changes(tmp_path: Path) -> None:
    library, run = Library(echo(tmp_path)), tmp_path / "run"
    run.mkdir()
    first = library.ask(run, PATIENCE)
    assert first is not None
    assert library.ask(run, PATIENCE) is first
    assert starts(tmp_path) == 1
    (run / "summary.json").write_text("{}")
    assert library.ask(run, PATIENCE) is not first
    assert starts(tmp_path) == 2


def test_room_is_made_for_the_runs_asked_for_last(tmp_path: Path) -> None:
    size = len((tmp_path / "answer").read_bytes()) if echo(tmp_path) else 0
    library = Library(echo(tmp_path), most=2 * size)
    runs = [tmp_path / name for name in ("a", "b", "c")]
    for run in (*runs, runs[2], runs[1]):
        library.ask(run, PATIENCE)
    assert starts(tmp_path) == 3
    library.ask(runs[0], PATIENCE)
    assert starts(tmp_path) == 4
    assert len(library._jobs) <= 3


@pytest.mark.parametrize(
    "body", ["print('no arrays')", "sys.exit(3)", "sys.stdout.write('x' * 5000)"]
)
def test_a_process_that_fails_is_one_line_and_is_tried_again(tmp_path: Path, body: str) -> None:
    library = Library(fake(tmp_path, body), most=4000)
    for times in (1, 2):
        with pytest.raises(RunError) as raised:
            library.ask(tmp_path / "run", PATIENCE)
        assert "\n" not in str(raised.value)
        assert starts(tmp_path) == times


def test_a_page_waits_no_longer_than_it_is_patient_and_a_process_ends(tmp_path: Path) -> None:
    library = Library(fake(tmp_path, "time.sleep(10_000)"), seconds=1.5)
    assert library.ask(tmp_path / "run", 0.0) is None
    with pytest.raises(RunError, match="could not be scored"):
        library.ask(tmp_path / "run", PATIENCE)


def test_a_crowd_of_runs_is_refused(tmp_path: Path) -> None:
    library = Library(fake(tmp_path, "time.sleep(10_000)"), seconds=1.0)
    for number in range(recommendations.MOST_WAITING):
        assert library.ask(tmp_path / str(number), 0.0) is None
    with pytest.raises(RunError, match="too many"):
        library.ask(tmp_path / "one more", 0.0)


def test_the_process_ends_with_the_server(made: Callable[[str], Path]) -> None:
    with subprocess.Popen(
        [*COMMAND, str(made("sgd"))], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE) == 1


def test_a_server_loads_no_compiler_and_no_model() -> None:
    code = "import bfedrec.web.explorer.users, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "numba", "matplotlib", "pandas", "scipy"}
