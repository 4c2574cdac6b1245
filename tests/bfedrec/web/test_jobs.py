"""Jobs of merchants on a disk that fails: the next one begins all the same."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from bfedrec.web.portal import jobs as jobs_module
from bfedrec.web.portal.jobs import WANTED, Jobs, Task, left_by_another_life


def full(*arguments: object, **options: object) -> NoReturn:
    raise OSError(28, "No space left on device")


def test_a_job_that_cannot_be_noted_blocks_none_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, played = Jobs(1), []
    task = Task("training", lambda tell: played.append("once"))
    with monkeypatch.context() as patched:
        patched.setattr(jobs_module, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            jobs.start("shop-0", tmp_path, "train", task)
    progress = jobs.progress("shop-0")
    assert not progress.running
    assert "could not begin" in progress.problem
    jobs.start("shop-0", tmp_path, "train", task)
    jobs.close()
    assert played == ["once"]
    assert jobs.progress("shop-0").problem == ""
    assert left_by_another_life(tmp_path) is None
    # Nor does one after the portal has begun to close.
    with pytest.raises(RuntimeError):
        jobs.start("shop-0", tmp_path, "train", task)
    assert not jobs.progress("shop-0").running


def test_a_job_whose_note_stays_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Path, "unlink", full)
    jobs = Jobs(1)
    jobs.start("shop-0", tmp_path, "train", Task("training", lambda tell: None))
    jobs.close()
    assert not jobs.progress("shop-0").running
    assert (tmp_path / WANTED).exists()
    assert "No space left" in capsys.readouterr().err
