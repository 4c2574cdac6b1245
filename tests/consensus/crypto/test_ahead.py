"""The helper process for cryptography: what it says is what is computed here, and nobody needs
it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from select import select
from time import sleep
from typing import Any

import pytest

from consensus.crypto import ahead as ahead_module
from consensus.crypto import keys, vrf
from consensus.crypto.ahead import HEAD, INDEX, KEYS, PROVE, VERIFY, Ahead, AheadProver, Check
from consensus.crypto.keys import SigningKey
from consensus.crypto.vrf import VrfKey
from tests.helpers.toy import Toy

pytestmark = pytest.mark.timeout(60)  # what waits for ever fails

ROOT = next(path for path in Path(__file__).parents if (path / "pyproject.toml").is_file())
PROVERS = [VrfKey.from_seed(bytes([index + 1]) * 32) for index in range(6)]
SIGNER = SigningKey.from_seed(bytes(32))
ALPHA, OTHER = b"alpha", b"another"
PATIENCE = 40.0
"""Seconds after which a process that should have ended is said not to have."""


@pytest.fixture
def helper() -> Iterator[Ahead]:
    keys.forget()
    made = Ahead(PROVERS)
    yield made
    made.close()
    keys.forget()


def pid_of(ahead: Ahead) -> int:
    assert ahead._process is not None
    return ahead._process.pid


def await_end(handle: int) -> None:
    """Wait until the process of a handle has ended."""
    ended = select([handle], [], [], PATIENCE)[0]
    os.close(handle)
    assert ended


def kill(ahead: Ahead) -> None:
    """Kill the helper, of which its parent knows nothing."""
    handle = os.pidfd_open(pid_of(ahead))
    os.kill(pid_of(ahead), signal.SIGKILL)
    await_end(handle)


def all_proofs(ahead: Ahead) -> None:
    """Wait until all proofs are here, all made by the helper."""
    while len(ahead._proofs) < len(ahead._keys):
        assert ahead._receive(wait=True)


def right(ahead: Ahead, alpha: bytes = ALPHA, provers: Sequence[VrfKey] = PROVERS) -> None:
    """All proofs are right, in whatever order they are asked for."""
    for index in [*range(1, len(provers), 2), *range(0, len(provers), 2)]:
        assert ahead.proof(index, alpha) == provers[index].prove(alpha)


def checks(count: int, salt: int = 0) -> list[Check]:
    """Signatures, of which the second, the fifth and so on are wrong."""
    found = []
    for number in range(count):
        digest = (number + 1000 * salt).to_bytes(32, "big")
        signature = SIGNER.sign(digest)
        if number % 3 == 1:
            signature = bytes([signature[0] ^ 1]) + signature[1:]
        found.append((SIGNER.public, digest, signature))
    return found


def found_out(ahead: Ahead, asked: Sequence[Check]) -> None:
    """Every signature is found right or wrong, as it is."""
    for number, check in enumerate(asked):
        ahead.expect(check)
        assert keys.verify(*check) is (number % 3 != 1)


def never(*_: Any) -> Any:
    raise AssertionError("computed here")


# -- proofs ---------------------------------------------------------------------------------------


def test_proofs_of_the_helper_are_those_made_here(
    helper: Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [prover.prove(ALPHA) for prover in PROVERS]
    helper.prove(ALPHA)
    all_proofs(helper)
    monkeypatch.setattr(VrfKey, "prove", never)
    assert [helper.proof(index, ALPHA) for index in range(len(PROVERS))] == expected
    for prover, (proof, beta) in zip(PROVERS, expected, strict=True):
        assert vrf.verify(prover.public, ALPHA, proof) == beta


def test_proofs_that_are_needed_before_they_are_made_are_right(helper: Ahead) -> None:
    for alpha in (ALPHA, OTHER, ALPHA):
        helper.prove(alpha)
        right(helper, alpha)


def test_a_proof_for_what_was_not_asked_for_is_made_here(helper: Ahead) -> None:
    assert helper.proof(2, ALPHA) == PROVERS[2].prove(ALPHA)
    helper.prove(OTHER)
    assert helper.proof(2, ALPHA) == PROVERS[2].prove(ALPHA)
    right(helper, OTHER)


def test_answers_to_an_earlier_request_are_not_taken_for_those_of_a_later(helper: Ahead) -> None:
    """Also where the helper still works on the earlier one."""
    for number in range(20):
        helper.prove(b"%d" % number)
    all_proofs(helper)
    right(helper, b"19")


def test_the_same_request_twice_is_one(helper: Ahead) -> None:
    helper.prove(ALPHA)
    all_proofs(helper)
    before = helper._proving, dict(helper._proofs)
    helper.prove(ALPHA)
    assert (helper._proving, helper._proofs) == before


def test_however_many_checks_lie_between_two_requests_both_are_answered(helper: Ahead) -> None:
    """Requests are told apart by a byte for each key."""
    for between in (253, 254, 255):
        helper.prove(ALPHA)
        all_proofs(helper)
        for _ in range(between):
            helper.verify([])
        helper.prove(OTHER)
        right(helper, OTHER)


def test_a_proof_that_is_begun_there_is_not_made_here(
    helper: Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is awaited others are made here, from the last."""
    made: list[int] = []
    prove = VrfKey.prove

    def noting(prover: VrfKey, alpha: bytes) -> tuple[bytes, bytes]:
        made.append(PROVERS.index(prover))
        return prove(prover, alpha)

    monkeypatch.setattr(VrfKey, "prove", noting)
    waits, receive = [], helper._receive

    def receiving(wait: bool) -> bool:
        waits.extend([wait] * wait)
        return receive(wait)

    monkeypatch.setattr(helper, "_receive", receiving)
    os.kill(pid_of(helper), signal.SIGSTOP)
    helper.prove(ALPHA)
    mark = ahead_module._mark(helper._proving)
    helper._claims[0] = helper._claims[4] = mark  # as if it had begun these
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(helper.proof, 0, ALPHA)
        try:
            while not waits:
                assert not waiting.done()
                sleep(0.001)
        finally:
            helper._claims[0] = helper._claims[4] = 0
            os.kill(pid_of(helper), signal.SIGCONT)
        waiting.result(PATIENCE)
    assert made == [5, 3, 2, 1]
    right(helper)


def test_the_helper_makes_no_proof_that_is_made_here(helper: Ahead) -> None:
    os.kill(pid_of(helper), signal.SIGSTOP)
    helper.prove(ALPHA)
    helper._make(2)
    helper._make(5)
    helper._proofs.clear()
    os.kill(pid_of(helper), signal.SIGCONT)
    [check] = checks(1)
    helper.verify([check])
    helper.expect(check)  # which is answered after the proofs
    assert sorted(helper._proofs) == [0, 1, 3, 4]


def test_a_key_whose_proofs_come_from_a_helper_is_that_key(helper: Ahead) -> None:
    prover = AheadProver(helper, 3, PROVERS[3].public)
    assert prover.public == PROVERS[3].public
    helper.prove(ALPHA)
    for alpha in (ALPHA, OTHER):
        assert prover.prove(alpha) == PROVERS[3].prove(alpha)


# -- signatures -----------------------------------------------------------------------------------


def test_signatures_are_found_right_or_wrong(
    helper: Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = checks(200)
    monkeypatch.setattr(keys.bindings, "crypto_sign_open", never)
    for first in range(0, len(asked), 40):
        helper.verify(asked[first : first + 40])
    for number in range(len(asked) - 1, -1, -1):
        helper.expect(asked[number])
        assert keys.verify(*asked[number]) is (number % 3 != 1)
    assert not helper._checks
    assert not helper._requests


def test_who_expects_what_was_not_asked_for_does_not_wait(helper: Ahead) -> None:
    asked = checks(3)
    helper.expect(asked[0])
    found_out(helper, asked)


def test_malformed_signatures_are_wrong(helper: Ahead) -> None:
    digest = bytes(32)
    good = SIGNER.sign(digest)
    wrong = [(SIGNER.public, digest, bytes(64)), (bytes(32), digest, good)]
    wrong += [(SIGNER.public, digest, good[:32] + bytes([255]) * 32)]
    helper.verify([*wrong, (SIGNER.public, digest, good)])
    for check in wrong:
        helper.expect(check)
        assert not keys.verify(*check)
    helper.expect((SIGNER.public, digest, good))
    assert keys.verify(SIGNER.public, digest, good)


def test_more_answers_than_a_pipe_holds_and_many_checks_meanwhile() -> None:
    """Nobody waits for the other to read: 90 KB of proofs, while 512 KB of checks are sent."""
    keys.forget()
    provers = [VrfKey.from_seed(number.to_bytes(32, "big")) for number in range(1, 601)]
    ahead, asked = Ahead(provers), checks(4000)
    try:
        ahead.prove(ALPHA)
        ahead.verify(asked)
        all_proofs(ahead)
        for index in (0, 299, 599):
            assert ahead.proof(index, ALPHA) == provers[index].prove(ALPHA)
        found_out(ahead, asked)
    finally:
        ahead.close()


def test_several_helpers_at_once() -> None:
    helpers = [Ahead(PROVERS[:count]) for count in (0, 2, 4, 6)]
    try:
        for alpha in (ALPHA, OTHER):
            for number, ahead in enumerate(helpers):
                ahead.prove(alpha)
                ahead.verify(checks(20, number))
            for number, ahead in enumerate(helpers):
                right(ahead, alpha, PROVERS[: 2 * number])
                found_out(ahead, checks(20, number))
            helpers.pop().close()
    finally:
        for ahead in helpers:
            ahead.close()


# -- without it -----------------------------------------------------------------------------------

STAGES = ["at once", "asked", "some came", "all came", "checks asked", "some checked"]


@pytest.mark.parametrize("stage", STAGES)
def test_whenever_the_helper_is_killed_the_results_are_the_same(helper: Ahead, stage: str) -> None:
    process, asked = helper._process, checks(400)
    for now in STAGES:
        if now == "asked":
            helper.prove(ALPHA)
        elif now == "some came":
            helper.proof(3, ALPHA)
        elif now == "all came" and now == stage:
            all_proofs(helper)
        elif now == "checks asked":
            helper.verify(asked[:200])
            helper.verify(asked[199:])
        elif now == "some checked":
            found_out(helper, asked[:7])
        if now == stage:
            kill(helper)
    right(helper)
    found_out(helper, asked)
    helper.prove(OTHER)
    helper.verify(checks(5, salt=9))
    right(helper, OTHER)
    found_out(helper, checks(5, salt=9))
    assert helper._process is None
    assert not helper._checks
    assert not helper._requests
    assert process is not None
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)  # it is no zombie


def test_a_proof_begun_by_a_helper_that_is_killed_is_made_here(helper: Ahead) -> None:
    os.kill(pid_of(helper), signal.SIGSTOP)
    helper.prove(ALPHA)
    for index in range(len(PROVERS)):
        helper._claims[index] = ahead_module._mark(helper._proving)
    kill(helper)
    right(helper)


def test_a_thread_that_finds_the_helper_gone_takes_nothing_from_who_is_reading(
    helper: Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signatures are sent by the thread that made them, while proofs are read in another."""
    helper.prove(ALPHA)
    kill(helper)
    threads = []

    def meanwhile(*arguments: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            threads.append(pool.submit(helper.verify, checks(3)))
        return select(*arguments)

    monkeypatch.setattr(ahead_module, "select", meanwhile)
    right(helper)
    found_out(helper, checks(3))
    assert threads
    assert all(thread.exception() is None for thread in threads)
    assert helper._process is None


def test_a_helper_is_closed_while_a_thread_sends(helper: Ahead) -> None:
    os.kill(pid_of(helper), signal.SIGSTOP)  # it reads nothing, and the pipe is full
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(helper.verify, checks(3000))
        while not helper._requests:
            assert not sending.done()
            sleep(0.001)
        helper.close()
        sending.result(PATIENCE)
    found_out(helper, checks(9))
    helper.close()  # again


@pytest.mark.parametrize(
    "answer",
    [
        HEAD.pack(b"X", 1, 0),
        HEAD.pack(KEYS, 0, 0),
        HEAD.pack(PROVE, 1, 2**31),
        HEAD.pack(PROVE, 1, 4) + INDEX.pack(0),
        HEAD.pack(PROVE, 1, 148) + INDEX.pack(len(PROVERS)) + bytes(144),
        HEAD.pack(VERIFY, 1, 3) + b"\1\2\1",
        HEAD.pack(VERIFY, 1, 3) + b"\1\0\3",
        HEAD.pack(VERIFY, 1, 4) + b"\1\1\1\1",
        HEAD.pack(VERIFY, 1, 2) + b"\1\1",
        HEAD.pack(VERIFY, 1, 2**32 - 1),
        HEAD.pack(VERIFY, 2, 3) + b"\1\1\1",
        bytes(9),
        bytes([255]) * 9,
    ],
)
def test_whoever_answers_nonsense_is_heard_no_more(
    answer: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.forget()
    program = tmp_path / "helper"
    octal = "".join(f"\\{byte:03o}" for byte in answer)
    program.write_text(f"#!/bin/sh\nprintf '{octal}'\nexec cat > /dev/null\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    ahead, asked = Ahead(PROVERS), checks(3)
    try:
        ahead.prove(ALPHA)
        ahead.verify(asked)
        found_out(ahead, asked)
        for index in range(len(PROVERS)):
            ahead._claims[index] = ahead_module._mark(ahead._proving)
        right(ahead)
        assert ahead._process is None
    finally:
        ahead.close()


def test_a_program_that_ends_at_once_and_one_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    ahead = Ahead(PROVERS)
    ahead.prove(ALPHA)
    right(ahead)
    ahead.close()
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    with pytest.raises(OSError, match="no/such"):
        Ahead(PROVERS)


# -- processes ------------------------------------------------------------------------------------


def test_close_ends_the_helper_and_waits_for_it(helper: Ahead) -> None:
    process = helper._process
    assert process is not None
    handle = os.pidfd_open(process.pid)
    assert os.getpgid(process.pid) != os.getpgid(0), "Ctrl-C is for the run"
    helper.close()
    await_end(handle)
    assert process.returncode == -signal.SIGKILL
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdin.closed
    assert process.stdout.closed
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    right(helper)


PARENT = """\
import sys
sys.path.insert(0, {root!r})
from consensus.crypto.ahead import Ahead
from consensus.crypto.vrf import VrfKey
provers = [VrfKey.from_seed((index + 1).to_bytes(32, "big")) for index in range({provers})]
helpers = [Ahead(provers) for _ in range({helpers})]
for ahead in helpers:
    ahead.prove(b"alpha")
{then}
print(*(ahead._process.pid for ahead in helpers), flush=True)
sys.stdin.read()
"""


def parent_of(
    helpers: int, cwd: Path, provers: int = 6, then: str = ""
) -> tuple[subprocess.Popen[str], list[int]]:
    """A process with helpers, which knows of this code by its path alone, and handles of them."""
    code = PARENT.format(root=str(ROOT), helpers=helpers, provers=provers, then=then)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipe = subprocess.PIPE
    parent = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=pipe,
        stdout=pipe,
        text=True,
        cwd=cwd,
        env=environment,
    )
    assert parent.stdout is not None
    return parent, [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]


def test_helpers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """Also amid proofs, and though each was started while the others ran."""
    parent, handles = parent_of(3, tmp_path, provers=2000)
    with parent:
        assert len(handles) == 3
        assert not select(handles, [], [], 0)[0]
        parent.kill()
        for handle in handles:
            await_end(handle)


def test_helpers_end_with_their_parent(tmp_path: Path) -> None:
    parent, handles = parent_of(2, tmp_path)
    with parent:
        parent.communicate("", PATIENCE)
        for handle in handles:
            await_end(handle)


def test_a_helper_runs_the_code_of_its_parent_wherever_that_is_run(tmp_path: Path) -> None:
    """Not that of the folder where it is run."""
    for name in ("consensus", "queue", "nacl"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('another one')\n")
    then = "while len(helpers[0]._proofs) < 6:\n    assert helpers[0]._receive(wait=True)"
    parent, handles = parent_of(1, tmp_path, then=then)
    with parent:
        assert len(handles) == 1, "it has made no proof"
        parent.kill()
    await_end(handles[0])


# -- a world --------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["bft", "hotstuff", "paper", "tendermint"])
@pytest.mark.parametrize("killed", [False, True])
def test_a_world_comes_to_the_same_with_a_helper(protocol: str, killed: bool) -> None:
    heads = []
    for helped in (False, True):
        keys.forget()
        toy = Toy(servers=5, clients=3, protocol=protocol, committee_size=4, helped=helped)
        if toy.ahead is not None and killed:
            kill(toy.ahead)
        heads.append([toy.play().block.cid for _ in range(3)])
        if toy.ahead is not None:
            assert (toy.ahead._process is None) is killed
            assert (toy.ahead._alpha is not None) is True
            toy.ahead.close()
    assert heads[0] == heads[1]
