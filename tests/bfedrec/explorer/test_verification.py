"""Verification of a chain or a block beside a run, by the steps of the audit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bfedrec.cli.audit import audit_command
from bfedrec.explorer import verification
from bfedrec.explorer.verification import Progress, patient, verify
from consensus.audit import AuditFailure
from consensus.storage.content import Busy, StoreError
from consensus.storage.live import LiveChain
from tests.helpers import shown
from tests.helpers.tiny import TINY

HEIGHTS = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of five heights, of which the updates of the last two are kept."""
    text = f"{TINY}rounds: {HEIGHTS}\nledger: {{window: 2}}\n"
    return shown.play(tmp_path_factory.mktemp("runs") / "run", text=text)


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run")) / "chain.sqlite"


def test_all_is_verified_as_the_command_does(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Progress] = []
    found = verify(run / "chain.sqlite", None, told.append)
    assert found.passed
    assert audit_command(run) == 0
    assert found.told in capsys.readouterr().out
    assert "5 blocks, " in found.told
    assert "2 of 5 aggregates recomputed" in found.told
    assert [each.done for each in told if each.what == "heights"] == [1, 2, 3, 4, 5]
    assert told[-1].what == "blocks of content"
    assert found.unchecked == ""


@pytest.mark.parametrize("height", [1, 2, 4, 5])
def test_one_block_is_verified_from_the_state_below(run: Path, height: int) -> None:
    found = verify(run / "chain.sqlite", height)
    assert found.passed, found.told
    assert found.told.startswith(f"height {height}: ")
    assert ("its aggregate recomputed" in found.told) == (height > 3)
    proofs = 4 if height == 1 else 8
    assert f"{proofs} VRF proofs" in found.told
    assert "the blocks below were taken as they are" in found.unchecked


def test_heights_that_are_not_there_and_files_that_are_no_chain(run: Path, tmp_path: Path) -> None:
    assert "the chain has 1 to 5" in verify(run / "chain.sqlite", 6).told
    found = verify(tmp_path / "none.sqlite", None)
    assert not found.passed
    assert found.told.startswith("cannot be verified: ")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE blocks SET data = x'00' WHERE height = 4", "height 4: "),
        ("DELETE FROM updates WHERE height = 5", "its updates are missing"),
        ("UPDATE updates SET data = x'00' WHERE height = 4 AND position = 0", "height 4: update 0"),
        ("UPDATE meta SET value = x'00'", "not the head that the store names"),
    ],
)
def test_what_is_wrong_is_told(copied: Path, statement: str, told: str) -> None:
    shown.change(copied, statement)
    found = verify(copied, None)
    assert not found.passed
    assert told in found.told
    assert "\n" not in found.told


def test_a_block_with_another_aggregate_fails(copied: Path) -> None:
    shown.change(copied, "UPDATE content SET data = x'0011' WHERE root = 1")
    found = verify(copied, 5)
    assert not found.passed
    assert "has another hash" in found.told


def test_a_step_is_taken_again_while_the_writer_is_in_the_way(run: Path) -> None:
    tries = []

    def step(chain: LiveChain) -> str:
        tries.append(chain)
        if len(tries) == 1:
            raise Busy("busy")
        if len(tries) == 2:  # as an audit wraps it
            raise AuditFailure(1, "cannot be read") from Busy("busy")
        return "done"

    assert patient(run / "chain.sqlite", step) == "done"

    def wrong(chain: LiveChain) -> None:
        raise AuditFailure(1, "wrong") from StoreError("damaged")

    with pytest.raises(AuditFailure):
        patient(run / "chain.sqlite", wrong)


def test_a_run_that_ends_meanwhile_is_no_failure(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    begin = verification.ChainAudit.begin

    def late(*arguments: object) -> object:
        begun.append(arguments)
        if len(begun) == 1:
            raise AuditFailure(4, "the chain ends here, but the run had 5 rounds")
        return begin(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(verification.ChainAudit, "begin", late)
    assert verify(run / "chain.sqlite", None).passed


def test_the_process_tells_in_lines_of_json(run: Path) -> None:
    command = [sys.executable, "-m", "bfedrec.explorer.verification", str(run / "chain.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["outcome"]["passed"] is True
    assert {"done": 5, "total": 5, "what": "heights"} in lines
