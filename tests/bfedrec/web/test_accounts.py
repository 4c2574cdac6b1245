"""Accounts, sessions and limits."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bfedrec.web import accounts as module
from bfedrec.web.accounts import AccountError, Accounts, create, main
from bfedrec.web.limits import Limit
from bfedrec.web.sessions import IDLE_SECONDS, LONGEST_SECONDS, MOST_OF_ONE, Sessions


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_one_time_password_is_changed_by_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    create(path, "shop-0", "first words of it")
    create(path, "shop-1", "another one of it")
    accounts = Accounts(path)
    first = accounts.check("shop-0", "first words of it")
    assert first is not None
    assert first.one_time
    assert accounts.check("shop-0", "another one of it") is None
    assert accounts.check("shop-9", "first words of it") is None
    for old, new, told in (
        ("wrong", "a good new password", "not right"),
        ("first words of it", "first words of it", "is the old one"),
        ("first words of it", "short", "10 to 200"),
        ("first words of it", "x" * 201, "10 to 200"),
    ):
        with pytest.raises(AccountError, match=told):
            accounts.change("shop-0", old, new)
    changed = accounts.change("shop-0", "first words of it", "a good new pässword")
    assert not changed.one_time
    assert changed.mark != first.mark
    # Another keyboard writes the letter as two.
    assert accounts.check("shop-0", "a good new pa\u0308ssword") == changed
    assert accounts.check("shop-1", "another one of it") is not None
    text = path.read_text()
    assert "password" not in text
    assert "argon2id" in text
    assert path.stat().st_mode & 0o77 == 0


def test_accounts_that_other_processes_create_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "accounts.json"
    accounts = Accounts(path)
    assert accounts.all() == {}
    command = [sys.executable, "-m", "bfedrec.web.accounts", str(path), "shop-0"]
    done = subprocess.run(command, input="a good password\n", text=True, check=True)
    assert done.returncode == 0
    assert accounts.check("shop-0", "a good password") is not None


def test_accounts_created_at_once_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    names = [f"shop-{place}" for place in range(6)]
    threads = [threading.Thread(target=create, args=(path, name, "good words")) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Accounts(path).all()) == names


@pytest.mark.parametrize("name", ["", "Shop", "../x", "a/b", "-a", "a" * 65, "shop\n", "shöp"])
def test_names_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(AccountError, match="a name has"):
        create(tmp_path / "accounts.json", name, "a good password")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"shop-0": 1}', b'{"shop-0": {"hash": ""}}', b"[" * 10**5]
)
def test_a_damaged_file_is_one_line(
    tmp_path: Path,
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "accounts.json"
    path.write_bytes(content)
    with pytest.raises(AccountError, match="no file of accounts"):
        Accounts(path).all()
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115
    assert main([str(path), "shop-0"]) == 2
    assert path.read_bytes() == content


def test_a_hash_that_is_none_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps({"shop-0": {"hash": "", "one_time": False}}))
    assert Accounts(path).check("shop-0", "") is None


def test_a_password_that_is_no_text_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "accounts.json"
    create(path, "shop-0", "a long password")
    for name in ("shop-0", "shop-1"):
        assert Accounts(path).check(name, "\ud800") is None


def test_a_name_without_account_costs_as_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "accounts.json"
    create(path, "shop-0", "a good password")
    accounts, verified = Accounts(path), []

    class Counting:
        def verify(self, hash: str, given: str) -> bool:
            verified.append(hash.split("$")[3])
            raise module.VerificationError

    monkeypatch.setattr(module, "_HASHER", Counting())
    assert accounts.check("shop-0", "x") is accounts.check("shop-9", "x") is None
    # The same costs: memory, passes and lanes stand in the hash.
    assert len(verified) == 2
    assert verified[0] == verified[1]


def test_limits_count_and_forget() -> None:
    clock = Clock()
    limit = Limit(3, 60.0, clock)
    for _ in range(3):
        assert limit.wait("a") == 0
        limit.note("a")
        clock.now += 1
    assert limit.wait("a") == 57
    assert limit.wait("b") == 0
    clock.now = 60
    assert limit.wait("a") == 0
    limit.note("a")
    assert limit.wait("a") == 1
    limit.forget("a")
    assert limit.wait("a") == 0


def test_a_limit_remembers_a_bounded_number_of_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bfedrec.web.limits.KEYS", 10)
    limit = Limit(1, 60.0)
    for key in range(100):
        limit.note(key)
    assert [key for key in range(100) if limit.wait(key)] == list(range(90, 100))


def test_sessions_expire_and_end() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    cookie = sessions.begin("shop-0", "mark")
    other = sessions.begin("shop-1", "mark")
    assert cookie != other
    clock.now += IDLE_SECONDS - 1
    assert sessions.find(cookie, touch=False) is not None
    assert sessions.find(other) is not None
    clock.now += 1
    assert sessions.find(cookie) is None
    found = sessions.find(other)
    assert found is not None
    assert found.name == "shop-1"
    while clock.now < LONGEST_SECONDS:
        assert sessions.find(other) is not None
        clock.now += IDLE_SECONDS / 2
    assert sessions.find(other) is None


def test_sessions_are_bounded_and_end_by_name() -> None:
    sessions = Sessions()
    cookies = [sessions.begin("shop-0", "mark") for _ in range(MOST_OF_ONE + 2)]
    other = sessions.begin("shop-1", "mark")
    assert [sessions.find(each) is not None for each in cookies] == [False] * 2 + [True] * 10
    sessions.end(cookies[2])
    assert sessions.find(cookies[2]) is None
    assert sessions.find(cookies[3]) is not None
    sessions.end_all("shop-0")
    assert sessions.find(cookies[3]) is None
    assert sessions.find(other) is not None


class Interrupting:
    """A clock that has another thread do something, now and then, while it is looked at."""

    def __init__(self) -> None:
        self.act: Callable[[], object] | None = None
        self.thread: threading.Thread | None = None

    def __call__(self) -> float:
        if self.act is not None:
            self.thread = threading.Thread(target=self.act)
            self.act = None
            self.thread.start()
            self.thread.join(0.1)  # it may have to wait
        return 0.0


def test_a_session_that_ends_while_another_begins_has_ended() -> None:
    clock = Interrupting()
    sessions = Sessions(clock)
    cookies = [sessions.begin(f"shop-{shop}", "mark") for shop in range(2)]
    clock.act = lambda: sessions.end(cookies[0])
    sessions.begin("shop-2", "mark")
    assert clock.thread is not None
    clock.thread.join()
    assert [sessions.find(each) is None for each in cookies] == [True, False]


def test_a_key_may_be_forgotten_while_a_try_is_counted() -> None:
    clock = Interrupting()
    limit = Limit(1, 60.0, clock)
    clock.act = lambda: limit.forget("a")
    limit.note("a")
    assert clock.thread is not None
    clock.thread.join()
    assert limit.wait("a") == 0


def test_a_token_is_of_one_cookie_and_one_server() -> None:
    sessions, others = Sessions(), Sessions()
    assert sessions.genuine("cookie", sessions.token("cookie"))
    assert not sessions.genuine("cookies", sessions.token("cookie"))
    assert not sessions.genuine("cookie", others.token("cookie"))
    assert not sessions.genuine("", sessions.token(""))
    assert not sessions.genuine("cookie", "")
    assert not sessions.genuine("cookie", "ö")
