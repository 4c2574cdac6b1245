"""Proofs and checks of signatures, computed in a process of their own before they are needed.

A round's draws can be proven as soon as the block before is known, and a client's signature be
checked as soon as it is made; both take real time. A helper process does them meanwhile, and
nothing is skipped: what it says is what the same functions would have said here. A proof that it
has not begun when it is needed is made here, and so is everything once the helper is gone: no
result depends on it.

The two talk over pipes. A request or an answer is a frame: a kind (1 byte), the number of a request
(4 bytes), the length of what follows (4 bytes), and that.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from collections.abc import Sequence
from queue import SimpleQueue
from select import select
from struct import Struct
from threading import Lock, Thread
from typing import TYPE_CHECKING, BinaryIO, Final

from consensus.crypto import keys, vrf

if TYPE_CHECKING:
    import subprocess

KEYS: Final = b"K"
"""Request: secrets of the keys that are to prove."""
PROVE: Final = b"P"
"""Request: an alpha. Answers: the index of a key, its proof and its output."""
VERIFY: Final = b"V"
"""Request: signatures. Answer: a byte for each, 1 if it is right."""
HEAD: Final = Struct("<cII")
INDEX: Final = Struct("<I")

Check = tuple[bytes, bytes, bytes]
"""A signature to check: public key, digest and signature."""
CHECK_BYTES: Final = keys.PUBLIC_BYTES + keys.DIGEST_BYTES + keys.SIGNATURE_BYTES


class Ahead:
    """A helper process, and what is known from it. All but `verify` is called from one thread."""

    def __init__(self, provers: Sequence[vrf.VrfKey]) -> None:
        """Start a helper that proves with these keys. Raises OSError if it cannot be started."""
        # The helper, in which this module is read anew at each run's start, has no use for them.
        import subprocess
        import tempfile

        self._keys = list(provers)
        self._lock = Lock()
        self._verifying = 0
        """Number of the last request of checks."""
        self._proving = 0
        """Number of the last request of proofs, and ..."""
        self._alpha: bytes | None = None
        """... its alpha."""
        self._proofs: dict[int, tuple[bytes, bytes]] = {}
        self._checks: dict[Check, int] = {}
        """Signatures that are being checked, with the number of the request."""
        self._requests: dict[int, Sequence[Check]] = {}
        self._buffer = bytearray()
        with tempfile.TemporaryFile() as file:
            file.truncate(max(1, len(provers)))
            self._claims = mmap.mmap(file.fileno(), 0)
            """A byte for each key, which names the last request whose proof is made, here or
            there."""
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [sys.executable, "-S", "-P", "-m", "consensus.crypto.ahead", str(file.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[file.fileno()],
                start_new_session=True,  # Ctrl-C is for the run, which ends its helper
                env=os.environ | {"PYTHONPATH": _path()},
            )
        with self._lock:
            self._send(KEYS, 0, b"".join(key.secret for key in provers))

    def close(self) -> None:
        """End the helper."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        process.wait()

    # -- proofs -----------------------------------------------------------------------------------

    def prove(self, alpha: bytes) -> None:
        """Have the proofs of all keys for ``alpha`` made; those for another one are forgotten."""
        if alpha != self._alpha:
            self._alpha = alpha
            self._proofs.clear()
            self._proving += 1
            with self._lock:
                self._send(PROVE, self._proving, alpha)

    def proof(self, index: int, alpha: bytes) -> tuple[bytes, bytes]:
        """The proof and the output of a key (`vrf.VrfKey.prove`): from the helper if it has begun
        it, else made here. While the helper is at it, other proofs are made here, from the last."""
        if alpha != self._alpha:
            return self._keys[index].prove(alpha)
        others = len(self._keys) - 1
        while True:
            self._receive(wait=False)
            found = self._proofs.get(index)
            if found is not None:
                return found
            if not self._claimed(index):
                return self._make(index)
            while others > index and self._claimed(others):
                others -= 1
            if others > index:
                self._make(others)
            elif not self._receive(wait=True):
                return self._make(index)

    def _claimed(self, index: int) -> bool:
        return self._process is not None and self._claims[index] == _mark(self._proving)

    def _make(self, index: int) -> tuple[bytes, bytes]:
        assert self._alpha is not None
        self._claims[index] = _mark(self._proving)
        self._proofs[index] = made = self._keys[index].prove(self._alpha)
        return made

    # -- signatures -------------------------------------------------------------------------------

    def verify(self, checks: Sequence[Check]) -> None:
        """Have signatures checked. Called from any thread."""
        with self._lock:
            if self._process is None:
                return
            self._verifying = number = self._verifying + 1
            self._requests[number] = checks
            self._checks.update(dict.fromkeys(checks, number))
            self._send(VERIFY, number, b"".join(map(b"".join, checks)))

    def expect(self, check: Check) -> None:
        """Wait until `keys.verify` knows of a signature that is being checked."""
        while check in self._checks and self._receive(wait=True):
            pass

    # -- pipes ------------------------------------------------------------------------------------

    def _send(self, kind: bytes, number: int, data: bytes) -> None:
        """Send a request; to be called with the lock."""
        process = self._process
        if process is not None:
            try:
                process.stdin.write(HEAD.pack(kind, number, len(data)) + data)  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
            except (OSError, ValueError):
                process.kill()  # whoever reads from it finds that it has ended

    def _receive(self, wait: bool) -> bool:
        """Take in what the helper has answered; False if there is no helper any more."""
        process = self._process
        if process is None or process.stdout is None:
            return False
        stream = process.stdout.fileno()
        while select([stream], [], [], None if wait else 0)[0]:
            data = os.read(stream, 1 << 16)
            if not data:
                self._lose()
                return False
            self._buffer += data
            wait = False
            if len(data) < 1 << 16:
                break
        place = 0
        while len(self._buffer) >= place + HEAD.size:
            kind, number, length = HEAD.unpack_from(self._buffer, place)
            end = place + HEAD.size + length
            right = length == self._length_of(kind, number)
            if right and len(self._buffer) < end:
                break
            if not right or not self._take(kind, number, self._buffer[place + HEAD.size : end]):
                self._lose()  # it talks nonsense
                return False
            place = end
        del self._buffer[:place]
        return True

    def _length_of(self, kind: bytes, number: int) -> int:
        """The length of an answer to a request; negative for one that cannot come."""
        if kind == PROVE:
            return INDEX.size + vrf.PROOF_BYTES + vrf.BETA_BYTES
        asked = self._requests.get(number) if kind == VERIFY else None
        return -1 if asked is None else len(asked)

    def _take(self, kind: bytes, number: int, data: bytearray) -> bool:
        """Take in an answer; returns False for one that makes no sense."""
        if kind == VERIFY:
            if any(right > 1 for right in data):
                return False
            for check, right in zip(self._requests.pop(number), data, strict=True):
                keys.remember(*check, bool(right))
                self._checks.pop(check, None)
        elif number == self._proving:
            (index,) = INDEX.unpack_from(data)
            end = INDEX.size + vrf.PROOF_BYTES
            self._proofs[index] = bytes(data[INDEX.size : end]), bytes(data[end:])
            return bool(index < len(self._keys))
        return True

    def _lose(self) -> None:
        """Go on without the helper: nothing more is expected of it."""
        self.close()
        with self._lock:
            self._checks.clear()
            self._requests.clear()


class AheadProver:
    """A VRF key whose proofs a helper may have made."""

    def __init__(self, ahead: Ahead, index: int, public: bytes) -> None:
        self.public = public
        self._ahead = ahead
        self._index = index

    def prove(self, alpha: bytes) -> tuple[bytes, bytes]:
        """`vrf.VrfKey.prove`."""
        return self._ahead.proof(self._index, alpha)


def _mark(number: int) -> int:
    """The byte that stands for a request of proofs among the last ones."""
    return number % 255 + 1


def _path() -> str:
    """The folders in which the helper finds its modules: those of this process, of which the one
    that it is run in need not be one; and that of this module, which an editable installation finds
    by other means, in `site`, which a helper leaves out as it takes a sixth of its start."""
    own = os.path.abspath(__file__).rsplit(os.sep, 3)[0]
    return os.pathsep.join([*(path or os.curdir for path in sys.path), own])


# -- the helper -----------------------------------------------------------------------------------


def _help(requests: BinaryIO, answers: BinaryIO, claims: mmap.mmap) -> None:
    """Answer requests until there are no more. They are read in a thread of their own, so that who
    asks never waits for an answer to be read."""
    waiting: SimpleQueue[tuple[bytes, int, bytes] | None] = SimpleQueue()
    Thread(target=_read, args=(requests, waiting), daemon=True).start()
    provers: list[vrf.VrfKey] = []

    def answer(kind: bytes, number: int, data: bytes) -> None:
        answers.write(HEAD.pack(kind, number, len(data)) + data)
        answers.flush()

    while (request := waiting.get()) is not None:
        kind, number, data = request
        if kind == KEYS:
            size = vrf.SECRET_BYTES
            secrets = (data[at : at + size] for at in range(0, len(data), size))
            provers = [vrf.VrfKey.from_secret(secret) for secret in secrets]
        elif kind == PROVE:
            for index, prover in enumerate(provers):
                if claims[index] != _mark(number):
                    claims[index] = _mark(number)
                    answer(PROVE, number, INDEX.pack(index) + b"".join(prover.prove(data)))
        else:
            checks = (data[at : at + CHECK_BYTES] for at in range(0, len(data), CHECK_BYTES))
            answer(VERIFY, number, bytes(keys.verify(c[:32], c[32:64], c[64:]) for c in checks))


def _read(requests: BinaryIO, waiting: SimpleQueue[tuple[bytes, int, bytes] | None]) -> None:
    while len(head := requests.read(HEAD.size)) == HEAD.size:
        kind, number, length = HEAD.unpack(head)
        waiting.put((kind, number, requests.read(length)))
    waiting.put(None)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        _help(sys.stdin.buffer, sys.stdout.buffer, mmap.mmap(int(sys.argv[1]), 0))
    os._exit(0)
