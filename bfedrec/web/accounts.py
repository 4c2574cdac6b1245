"""Accounts of those who may log in: a JSON file of names and argon2 hashes.

    python -m bfedrec.web.accounts accounts.json shop-0 < password

A password that is set here is a one-time password: its owner has to change it at the first log-in.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import sys
import threading
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 10, 200
"""Characters of a password."""
LARGEST: Final = 2**20
"""Bytes of the largest file of accounts."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
AT_ONCE: Final = 2
"""Passwords that are hashed at once, so that a flood of tries leaves memory and processors."""
BAD_INPUT: Final = 2

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""The least of OWASP's settings for argon2id: 19 MiB, two passes, one lane."""
_SLOTS: Final = threading.BoundedSemaphore(AT_ONCE)


class AccountError(ValueError):
    """Error: a name, a password or a file of accounts that cannot be used, in one line."""


@dataclass(frozen=True)
class Account:
    """One account."""

    hash: str
    """The password's argon2id hash, with its salt and costs."""
    one_time: bool
    """True while the password is one that somebody else chose."""

    @property
    def mark(self) -> str:
        """A digest that changes with the password, so that older sessions can be ended."""
        return hashlib.sha256(self.hash.encode()).hexdigest()


class Accounts:
    """The accounts in a file, which other processes may change at any time."""

    def __init__(self, path: Path) -> None:
        """The accounts in the file `path`, which need not exist yet."""
        self.path = path
        self._read_at: tuple[int, int, int] | None = None
        self._known: Mapping[str, Account] = {}
        # Verified where there is no account, so that a refusal takes the same time.
        self._nobody = _hashed(os.urandom(16).hex())

    def all(self) -> Mapping[str, Account]:
        """Every account by its name. Raises AccountError for a file that is damaged."""
        try:
            status = self.path.stat()
        except OSError:
            return {}
        mark = (status.st_ino, status.st_mtime_ns, status.st_size)
        if mark != self._read_at:
            self._known, self._read_at = _load(self.path), mark
        return self._known

    def check(self, name: str, password: str) -> Account | None:
        """The account of this name if the password is its own; as slow where there is none."""
        account = self.all().get(name)
        given = _normal(password[: LONGEST + 1])
        try:
            with _SLOTS:
                _HASHER.verify(account.hash if account else self._nobody, given)
        except (VerificationError, InvalidHashError, UnicodeError):  # the last: no text at all
            return None
        return account

    def change(self, name: str, old: str, new: str) -> Account:
        """Set a password of the owner's own choice. Raises AccountError, one line."""
        if self.check(name, old) is None:
            raise AccountError("the present password is not right")
        if _normal(old) == _normal(new):
            raise AccountError("the new password is the old one")
        return _store(self.path, name, new, one_time=False)


def create(path: Path, id: str, password: str) -> None:
    """Create the account `id` with a one-time password, or give it a new one.

    Raises AccountError for a name that is not of small letters, digits and hyphens, a password of
    fewer than `SHORTEST` or more than `LONGEST` characters, or a damaged file.
    """
    _store(path, id, password, one_time=True)


def _store(path: Path, name: str, password: str, *, one_time: bool) -> Account:
    if not NAME.fullmatch(name):
        raise AccountError(f"a name has small letters, digits and hyphens, unlike {name!a:.80}")
    if not SHORTEST <= len(password) <= LONGEST:
        raise AccountError(f"a password has {SHORTEST} to {LONGEST} characters")
    with _SLOTS:
        account = Account(_hashed(_normal(password)), one_time)
    with _locked(path):
        accounts = {**(_load(path) if path.exists() else {}), name: account}
        content = {each: asdict(accounts[each]) for each in sorted(accounts)}
        beside = path.with_name(f"{path.name}.new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    return account


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file of accounts, so that no change of another process is lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f"{path.name}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _load(path: Path) -> dict[str, Account]:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError("it is too long")
        found = json.loads(text)
        return {
            name: Account(str(entry["hash"]), bool(entry["one_time"]))
            for name, entry in found.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise AccountError(f"{path}: no file of accounts ({type(error).__name__})") from None


def _hashed(password: str) -> str:
    return _HASHER.hash(password)


def _normal(password: str) -> str:
    """A password as it is hashed: keyboards write one letter in several ways."""
    return unicodedata.normalize("NFKC", password)


def main(arguments: Sequence[str] | None = None) -> int:
    """Create an account whose one-time password is the first line of standard input."""
    parser = argparse.ArgumentParser(prog="python -m bfedrec.web.accounts", description=__doc__)
    parser.add_argument("file", type=Path, help="file of accounts")
    parser.add_argument("id", help="the merchant")
    options = parser.parse_args(arguments)
    try:
        create(options.file, options.id, sys.stdin.readline().rstrip("\n"))
    except (AccountError, OSError) as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
