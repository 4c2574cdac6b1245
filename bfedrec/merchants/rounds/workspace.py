"""A merchant's folder: its key, its events, what it trained in each round, and a journal.

    key.json        its private key (readable by nobody else)
    events/*.csv    files of events in REES46's format, plain, gzip or zip
    rounds/N/       what it trained in round N: `draft` (the bytes to publish), `home.safetensors`
                    (its own part of the model, by user), `losses.csv`, `draft.json`; all at once
    journal.jsonl   a line for each step: for pages, and for nothing else

Everything may be killed at any moment: a round's folder appears whole or not at all, and a line of
the journal that was cut off is skipped.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bfedrec.files import sync_folder, write_bytes, write_folder
from bfedrec.merchants.model import Home
from consensus.ethereum.accounts import from_key
from consensus.ethereum.bounded_json import parse
from consensus.ethereum.records import Model
from consensus.storage.regular import open_regular, read_regular

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from bfedrec.merchants.training import EpochLosses

MOST_BYTES: Final = 2**31
"""Longest file of a round that is read, in bytes."""
JOURNAL_BYTES: Final = 2**20
"""Bytes of a journal's end that are read."""
EVENT_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}")
"""Names of files of events: no path, nothing hidden."""
_ROUND: Final = re.compile(r"[1-9][0-9]{0,18}")
LOSSES: Final = "epoch,training,test,constant_training,constant_test"


class WorkspaceError(Exception):
    """Error: a folder that cannot be used; the text is one line for people."""


@dataclass(frozen=True)
class Draft:
    """The model that a merchant trained in a round, and is to publish."""

    number: int
    parent: bytes
    """Digest of the model that training started from."""
    model: Model
    samples: int
    """Number of pairs that it was trained on."""
    payload: bytes


@dataclass(frozen=True)
class Kept:
    """A merchant's own part of the model, and whose rows they are."""

    home: Home
    users: np.ndarray
    """int64[M], ascending: the ids of the users, which never leave the merchant."""


@dataclass(frozen=True)
class Step:
    """A step of a merchant's round, as told to whoever watches.

    ``state`` is begun, done, failed or told (something to know); ``detail`` is one line.
    """

    number: int
    name: str
    state: str
    detail: str


class Workspace:
    """One merchant's folder. Reading needs nothing; who changes it holds `writing`.

    Methods raise WorkspaceError, one line with the folder's name, for what cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The merchant's name, which is the folder's."""
        return self.path.name

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Have the folder for this process alone. Raises WorkspaceError where another one has."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise WorkspaceError(f"{self.path}: another process is at work here") from None
            yield

    # -- key ---------------------------------------------------------------------------------------

    def create(self, key: bytes) -> None:
        """Make the folder of a merchant with this private key."""
        (self.path / "events").mkdir(parents=True, exist_ok=True)
        (self.path / "rounds").mkdir(exist_ok=True)
        place = self.path / "key.json"
        beside = self.path / ".key.part"
        beside.unlink(missing_ok=True)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(json.dumps({"key": "0x" + key.hex()}))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
        sync_folder(self.path)

    def account(self) -> LocalAccount:
        """The merchant's account."""
        place = self.path / "key.json"
        try:
            found: Any = parse(read_regular(place, 4096))
            return from_key(found["key"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            told = error.strerror if isinstance(error, OSError) else "not a key"
            raise WorkspaceError(f"{place}: {told}") from None

    # -- events ------------------------------------------------------------------------------------

    def event_files(self) -> list[Path]:
        """The files of events, by name."""
        folder = self.path / "events"
        if not folder.is_dir():
            return []
        return sorted(each for each in folder.iterdir() if EVENT_FILE.fullmatch(each.name))

    # -- rounds ------------------------------------------------------------------------------------

    def keep(self, draft: Draft, kept: Kept, losses: Sequence[EpochLosses]) -> None:
        """Keep what was trained in a round, all of it or nothing."""
        about = {
            "parent": draft.parent.hex(),
            "cid": draft.model.cid.hex(),
            "digest": draft.model.digest.hex(),
            "samples": draft.samples,
        }
        lines = [",".join([str(one.epoch), *(f"{x:.6f}" for x in one[1:])]) for one in losses]
        home = kept.home
        tensors = {
            "users": kept.users.astype(np.int64),
            "factors": home.factors,
            "biases": home.biases,
            "mean": np.array([home.mean], np.float32),
        }
        files = {
            "draft": draft.payload,
            "draft.json": json.dumps(about).encode(),
            "home.safetensors": save(tensors),
            "losses.csv": "\n".join([LOSSES, *lines, ""]).encode(),
        }
        write_folder(self._round(draft.number), files)

    def draft(self, number: int) -> Draft | None:
        """The model that was trained in a round, or None."""
        folder = self._round(number)
        try:
            about: Any = parse(read_regular(folder / "draft.json", 65_536))
            model = Model(bytes.fromhex(about["cid"]), bytes.fromhex(about["digest"]))
            payload = read_regular(folder / "draft", MOST_BYTES)
            parent = bytes.fromhex(about["parent"])
            return Draft(number, parent, model, int(about["samples"]), payload)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WorkspaceError(f"{folder}: no draft can be read ({error})") from None

    def kept(self, before: int) -> Kept | None:
        """The merchant's own part after the latest round below ``before`` that it trained in."""
        for number in reversed(self.trained_rounds()):  # and not the chain's, which may be any
            place = self._round(number) / "home.safetensors"
            if 0 < number < before and place.exists():
                return _kept(place)
        return None

    def losses(self, number: int) -> str:
        """The losses of a round by epoch, as CSV with a header; "" before it was trained."""
        try:
            return read_regular(self._round(number) / "losses.csv", 2**24).decode("ascii")
        except (OSError, UnicodeDecodeError):
            return ""

    def trained_rounds(self) -> list[int]:
        """The rounds in which it trained, ascending."""
        folder = self.path / "rounds"
        names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
        return sorted(int(name) for name in names if _ROUND.fullmatch(name))

    def _round(self, number: int) -> Path:
        return self.path / "rounds" / str(number)

    # -- parts beside a round's --------------------------------------------------------------------

    def note(self, name: str, content: bytes) -> None:
        """Keep bytes that can be computed again, by name, within ``cache/``."""
        folder = self.path / "cache"
        folder.mkdir(exist_ok=True)
        write_bytes(folder / name, content)

    def noted(self, name: str) -> bytes | None:
        """The bytes that `note` kept, or None."""
        try:
            return read_regular(self.path / "cache" / name, MOST_BYTES)
        except OSError:
            return None

    # -- journal -----------------------------------------------------------------------------------

    def tell(self, step: Step) -> None:
        """Write a step into the journal."""
        place = self.path / "journal.jsonl"
        with place.open("ab+") as file:
            line = (json.dumps(asdict(step)) + "\n").encode()
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a write that was cut off
                    line = b"\n" + line
            file.write(line)

    def steps(self) -> list[Step]:
        """The last steps of the journal, in their order."""
        place = self.path / "journal.jsonl"
        try:
            with open_regular(place) as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - JOURNAL_BYTES))
                lines = file.read(JOURNAL_BYTES).split(b"\n")
        except OSError:
            return []
        steps = []
        for line in lines:
            try:
                steps.append(Step(**json.loads(line)))
            except (ValueError, TypeError):
                continue  # cut off by a kill, or by the place where reading begins
        return steps


def _kept(place: Path) -> Kept:
    try:
        found = load(read_regular(place, MOST_BYTES))
        home = Home(found["factors"], found["biases"], np.float32(found["mean"][0]))
        users = found["users"]
    except (OSError, SafetensorError, KeyError, IndexError, ValueError) as error:
        raise WorkspaceError(f"{place}: no model can be read ({error})") from None
    M = len(users)
    if (
        users.dtype != np.int64
        or (np.diff(users) <= 0).any()
        or home.factors.ndim != 2
        or (home.factors.shape[0], home.biases.shape) != (M, (M,))
    ):
        raise WorkspaceError(f"{place}: its parts do not belong together")
    return Kept(home, users)
