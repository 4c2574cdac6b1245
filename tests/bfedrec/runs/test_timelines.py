"""RUN/timeline.jsonl: a line per height, with the run's own totals, whatever interrupts the run."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bfedrec.explorer.timeline import Timeline
from bfedrec.runs import simulation as module
from bfedrec.runs.timelines import TIMELINE
from bfedrec.sweeps.recorded import WHOLE
from consensus.encoding.cid import cid_text
from consensus.records.block import Block
from consensus.simulation.results import Stalled
from tests.bfedrec.runs.test_resume import CRASHED, CUT_OFF, SCENARIOS
from tests.bfedrec.runs.test_simulation import (
    SMALL,
    ended_before_the_block,
    lasting,
    play,
    stopped_at,
)
from tests.helpers.commands import completed
from tests.helpers.halting import halting

HOSTILE = (
    "servers.malicious=[{behaviour: [equivocate_candidates, spam], share: 2/7}]",
    "crypto=modelled",
)
STALLS = ("servers.malicious=silent:3/7", "committee.size=7", "crypto=modelled", "rounds=5")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("hostile") / "run"
    return path, play(path, *HOSTILE)


def test_the_lines_agree_with_the_chain_and_add_up_to_the_totals(
    hostile: tuple[Path, dict[str, Any]],
) -> None:
    run, summary = hostile
    found = Timeline(run)
    assert list(found.heights) == list(range(1, 13))
    told = [found.height(height) for height in found.heights]
    with closing(sqlite3.connect(run / "chain.sqlite")) as database:
        rows = database.execute("SELECT data FROM blocks WHERE height > 0 ORDER BY height")
        blocks = [Block.decode(data) for (data,) in rows]
    for each, block in zip(told, blocks, strict=True):
        assert (each.outcome, each.block) == ("decided", cid_text(block.cid))
        assert each.attempts[-1].attempt == block.certificate.attempt
    assert [each.began_us for each in told[1:]] == [each.ended_us for each in told[:-1]]
    assert told[-1].ended_us == round(summary["simulated_seconds"] * 1e6)
    figures = [each.figures for each in told if each.figures is not None]
    assert sum(len(each.attempts) for each in told) == summary["attempts"]
    assert sum(each.messages for each in figures) == summary["gossip_messages"]
    assert sum(each.evidence for each in figures) == summary["evidence"] > 0
    refused: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for each in figures:
        refused.update(each.refused)
        sizes.update(each.bytes)
    assert refused.total() == summary["refused_messages"] > 0
    kept = {f"gossip_bytes_{kind}": size for kind, size in sizes.items()}
    assert kept.items() <= summary.items()
    with closing(sqlite3.connect(run / "state.sqlite")) as database:
        (counters,) = database.execute("SELECT counters FROM rounds WHERE height = 12").fetchone()
    assert json.loads(counters)["refused"] == dict(sorted(refused.items()))


@pytest.mark.parametrize("scenario", [CRASHED, CUT_OFF, "the paper's protocol"])
def test_a_run_that_is_cut_and_goes_on_has_the_same_lines(tmp_path: Path, scenario: str) -> None:
    words, whole = SCENARIOS[scenario], tmp_path / "whole"
    play(whole, *words)
    lines = (whole / TIMELINE).read_bytes()
    assert b'"crashed"' in lines or b'"cut"' in lines
    for height in (2, 5, 9):
        cut = tmp_path / f"cut-{height}"
        stopped_at(whole, cut, height)
        with (cut / TIMELINE).open("ab") as file:
            file.write(b'{"height":13,"outcome":"dec')
        play(cut, *words, resume=True)
        assert (cut / TIMELINE).read_bytes() == lines, height


def test_a_line_before_its_block_is_written_again(
    hostile: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """The process ends between a height's line and its block: the resume has to write both."""
    ended_before_the_block(tmp_path, 5, *HOSTILE)
    assert list(Timeline(tmp_path).heights) == [1, 2, 3, 4, 5]
    play(tmp_path, *HOSTILE, resume=True)
    assert (tmp_path / TIMELINE).read_bytes() == (hostile[0] / TIMELINE).read_bytes()


def test_a_block_always_has_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round a resume could never write it."""
    append = module.append_timeline

    def ends(folder: Path, timeline: Any) -> None:
        if timeline.height == 3:
            raise KeyboardInterrupt
        append(folder, timeline)

    monkeypatch.setattr(module, "append_timeline", ends)
    with pytest.raises(KeyboardInterrupt):
        play(tmp_path, *HOSTILE)
    with closing(sqlite3.connect(tmp_path / "chain.sqlite")) as database:
        assert database.execute("SELECT max(height) FROM blocks").fetchone() == (2,)


def test_sigkill_leaves_lines_that_a_resume_completes(
    hostile: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text("name: small\n")
    run = tmp_path / "run"
    command = ["run", tmp_path / "small.yaml", *SMALL, *HOSTILE, "--out", run, "--resume"]
    killed = completed(*command, env=halting(tmp_path / "halt", 6, calls=100))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    lines = (hostile[0] / TIMELINE).read_bytes()
    assert lines.startswith((run / TIMELINE).read_bytes())
    completed(*command).check_returncode()
    assert (run / TIMELINE).read_bytes() == lines


def test_a_height_that_stalls_has_its_line_and_keeps_it_after_another_try(tmp_path: Path) -> None:
    contents = []
    for resume in (False, True):
        with pytest.raises(Stalled):
            play(tmp_path, *STALLS, resume=resume)
        found = Timeline(tmp_path)
        stop = json.loads((tmp_path / "stopped.json").read_text())
        last = found.height(found.heights[-1])
        assert (last.height, last.outcome) == (stop["stopped_at_height"], "stalled")
        assert last.attempts[-1].attempt + 1 == stop["stopped_attempts"]
        assert last.attempts[-1].ended == "open"
        assert {each.ended for each in last.attempts[:-1]} <= {
            "blocked",
            "closed by all",
            "no candidate",
        }
        contents.append((tmp_path / TIMELINE).read_bytes())
    assert contents[0] == contents[1]


def test_a_run_whose_chain_is_kept_nowhere_begins_its_lines_anew(tmp_path: Path) -> None:
    words = ("store.kind=memory", "rounds=4", "crypto=modelled")
    play(tmp_path / "run", *words)
    lines = (tmp_path / "run" / TIMELINE).read_bytes()
    (tmp_path / "run" / "summary.json").unlink()
    play(tmp_path / "run", *words, resume=True)
    assert (tmp_path / "run" / TIMELINE).read_bytes() == lines


def test_a_run_of_an_earlier_version_has_lines_from_its_resume_on(
    hostile: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    stopped_at(hostile[0], cut, 7)
    (cut / TIMELINE).unlink()
    summary = play(cut, *HOSTILE, resume=True)
    assert lasting(summary) == lasting(hostile[1])
    assert list(Timeline(cut).heights) == [8, 9, 10, 11, 12]


def test_a_recorded_sweep_copies_no_timelines() -> None:
    assert TIMELINE not in WHOLE
