"""The validity rules of `bft`: what closes a view, and what is a lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from consensus.encoding.unixfs import file_cid
from consensus.ledger.validity import InvalidBlock
from consensus.protocols.bft.validity import (
    check_lock,
    check_timeout_certificate,
    closes,
)
from consensus.records.votes import Certificate, TimeoutCertificate
from tests.helpers.forge import Forge, flipped
from tests.helpers.toy import Toy

TOY = Toy(servers=9, clients=3, committee_size=6)
GENESIS = TOY.genesis
FORGE = Forge(TOY)
HEAD = FORGE.head
MEMBERS = FORGE.members()
OTHER = Toy(servers=9, clients=3, committee_size=6, seed=99)
CANDIDATE = FORGE.candidate()
GOOD = FORGE.block(CANDIDATE)
OUTSIDER = next(server for server in range(9) if server not in MEMBERS)


# -- what closes a view ----------------------------------------------------------------------------

LATER = FORGE.candidate(view=(0, 1))
LOCK = FORGE.lock(CANDIDATE)
LOCK_LATER = FORGE.lock(LATER)
CLOSING = FORGE.closing()
ENTRIES = CLOSING.entries
LOCKED = FORGE.closing((0, 1), locks={MEMBERS[0]: LOCK, MEMBERS[1]: LOCK_LATER})
STAKED_OUT = Toy(servers=9, clients=3, committee_size=6, stakes=[1, 1, 1, 1, 1, 1, 1, 1, 4])


def check_closing(certificate: TimeoutCertificate, forge: Forge = FORGE) -> None:
    check_timeout_certificate(forge.genesis, forge.head, certificate)


RIGHT_CLOSINGS: dict[str, Callable[[], TimeoutCertificate]] = {
    "the whole committee": lambda: CLOSING,
    "more than two thirds of it": lambda: FORGE.closing(servers=MEMBERS[:5]),
    "a later view": lambda: FORGE.closing((2, 1)),
    "with a lock of its own view": lambda: FORGE.closing(locks={MEMBERS[2]: LOCK}),
    "with the highest of two locks": lambda: LOCKED,
    "with a lock of an attempt before": lambda: FORGE.closing(
        (1, 0), locks={FORGE.members(1)[0]: LOCK_LATER}
    ),
    "an attempt by all servers": lambda: FORGE.closing(everyone=True),
    "an attempt by exactly two thirds": lambda: FORGE.closing(servers=range(6), everyone=True),
    "an attempt, with a lock of a later step": lambda: FORGE.closing(
        everyone=True, locks={0: LOCK_LATER}
    ),
}


@pytest.mark.parametrize("name", RIGHT_CLOSINGS)
def test_what_closes_a_view(name: str) -> None:
    check_closing(RIGHT_CLOSINGS[name]())


def relocked(lock: Certificate | None) -> TimeoutCertificate:
    return replace(LOCKED, lock=lock)


WRONG_CLOSINGS: dict[str, tuple[Callable[[], TimeoutCertificate], str]] = {
    "another height": (lambda: replace(CLOSING, height=2), "of height 2, not 1"),
    "another height, signed": (
        lambda: Forge(TOY, FORGE.after(GOOD).head).closing(),
        "of height 2, not 1",
    ),
    "a step beyond MaxStep": (lambda: FORGE.closing((0, 3)), "step 3 is beyond MaxStep"),
    "everyone at a later step": (
        lambda: FORGE.closing((0, 1), everyone=True),
        "an attempt is closed at its first step",
    ),
    "signers unsorted": (
        lambda: replace(CLOSING, entries=tuple(reversed(ENTRIES))),
        "not distinct and in ascending order",
    ),
    "a signer twice": (
        lambda: replace(CLOSING, entries=(*ENTRIES[:4], ENTRIES[3])),
        "not distinct and in ascending order",
    ),
    "a server unknown": (
        lambda: replace(CLOSING, entries=(*ENTRIES, (9, None, bytes(64)))),
        "server 9 is not registered",
    ),
    "a server unknown, everyone": (
        lambda: replace(FORGE.closing(everyone=True), entries=((9, None, bytes(64)),)),
        "server 9 is not registered",
    ),
    "without a seat": (
        lambda: FORGE.closing(servers=sorted([*MEMBERS[:5], OUTSIDER])),
        f"server {OUTSIDER} closed a view without a seat",
    ),
    "moved to another step": (lambda: replace(CLOSING, step=1), "timeout signature"),
    "moved to another attempt": (
        lambda: replace(FORGE.closing(servers=shared_members()), attempt=1),
        "timeout signature",
    ),
    "one view's timeouts for the attempt": (
        lambda: replace(CLOSING, everyone=True),
        "timeout signature",
    ),
    "the attempt's timeouts for one view": (
        lambda: replace(FORGE.closing(servers=MEMBERS, everyone=True), everyone=False),
        "timeout signature",
    ),
    "one signature damaged among enough": (
        lambda: replace(CLOSING, entries=((*ENTRIES[0][:2], flipped(ENTRIES[0][2])), *ENTRIES[1:])),
        f"server {MEMBERS[0]}'s timeout signature",
    ),
    "a lock put into an entry": (
        lambda: replace(
            CLOSING,
            entries=((ENTRIES[0][0], LOCK.name, ENTRIES[0][2]), *ENTRIES[1:]),
            lock=LOCK,
        ),
        "timeout signature",
    ),
    "a lock taken out of an entry": (
        lambda: replace(
            LOCKED,
            entries=tuple((server, None, signed) for server, _, signed in LOCKED.entries),
            lock=None,
        ),
        "timeout signature",
    ),
    "of another chain": (
        lambda: Forge(OTHER).closing(),
        "timeout signature|without a seat",
    ),
    "two thirds of the committee": (
        lambda: FORGE.closing(servers=MEMBERS[:4]),
        "4 servers are not enough to close a view",
    ),
    "nobody": (lambda: FORGE.closing(servers=[]), "0 servers are not enough"),
    "less than two thirds of all": (
        lambda: FORGE.closing(servers=range(5), everyone=True),
        "5 servers are not enough to close a view",
    ),
    "the lock left out": (lambda: relocked(None), "it leaves out the lock of its signers"),
    "not the highest lock": (lambda: relocked(LOCK), "its lock is not the highest"),
    "a lock that nobody named": (
        lambda: replace(CLOSING, lock=LOCK),
        "its lock is not the highest of its signers'",
    ),
    "a lock on another block": (
        lambda: relocked(replace(LOCK_LATER, block=file_cid(b"other"))),
        "its lock is not the highest",
    ),
    "a lock of a later step": (
        lambda: FORGE.closing(locks={MEMBERS[0]: LOCK_LATER}),
        "its lock is of a later view",
    ),
    "a lock of a later attempt": (
        lambda: FORGE.closing(everyone=True, locks={0: FORGE.lock(FORGE.candidate(view=(1, 0)))}),
        "its lock is of a later view",
    ),
    "a lock of too few": (
        lambda: FORGE.closing(locks={MEMBERS[0]: FORGE.lock(CANDIDATE, signers=MEMBERS[:4])}),
        "4 of 6 is not more than two thirds",
    ),
    "a lock damaged": (
        lambda: relocked(
            replace(LOCK_LATER, signatures=((MEMBERS[0], bytes(64)), *LOCK_LATER.signatures[1:]))
        ),
        "vote signature",
    ),
}


def shared_members() -> list[int]:
    """Members of attempt 0 that sit in attempt 1 too."""
    return [server for server in MEMBERS if server in FORGE.members(1)]


@pytest.mark.parametrize("name", WRONG_CLOSINGS)
def test_what_does_not_close_a_view(name: str) -> None:
    make, reason = WRONG_CLOSINGS[name]
    certificate = make()
    with pytest.raises(InvalidBlock, match=reason):
        check_closing(certificate)


def test_all_stake_counts_not_all_servers() -> None:
    """Four of the twelve shares are one server's: without it exactly two thirds are left."""
    forge = Forge(STAKED_OUT)
    check_closing(forge.closing(servers=range(8), everyone=True), forge)
    with pytest.raises(InvalidBlock, match="7 servers are not enough"):
        check_closing(forge.closing(servers=range(7), everyone=True), forge)
    check_closing(forge.closing(servers=[0, 1, 2, 3, 8], everyone=True), forge)
    with pytest.raises(InvalidBlock, match="4 servers are not enough"):
        check_closing(forge.closing(servers=[0, 1, 2, 8], everyone=True), forge)
    committee = forge.sortition().committee
    assert closes(forge.genesis, committee, True, range(8))
    assert not closes(forge.genesis, committee, True, range(7))
    assert closes(forge.genesis, committee, False, forge.members()[:5])
    assert not closes(forge.genesis, committee, False, forge.members()[:4])


# -- locks -----------------------------------------------------------------------------------------

WRONG_LOCKS: dict[str, tuple[Callable[[], Certificate], str]] = {
    "a decision": (lambda: FORGE.certificate(CANDIDATE), "of the cert phase, not soft"),
    "another height": (lambda: replace(LOCK, height=2), "of height 2"),
    "beyond MaxStep": (lambda: FORGE.lock(CANDIDATE, (0, 3)), "step 3 is beyond MaxStep"),
    "moved to another step": (lambda: replace(LOCK, step=1), "vote signature"),
    "moved to another block": (lambda: replace(LOCK, block=file_cid(b"")), "vote signature"),
    "another committee's": (
        lambda: FORGE.lock(CANDIDATE, (0, 0), FORGE.members(1)),
        "voted without a seat",
    ),
    "two thirds": (lambda: FORGE.lock(CANDIDATE, signers=MEMBERS[1:5]), "4 of 6 is not more"),
    "a signer twice": (
        lambda: replace(LOCK, signatures=(*LOCK.signatures[:4], LOCK.signatures[3])),
        "distinct",
    ),
}


@pytest.mark.parametrize("name", WRONG_LOCKS)
def test_what_is_no_lock(name: str) -> None:
    make, reason = WRONG_LOCKS[name]
    with pytest.raises(InvalidBlock, match=reason):
        check_lock(GENESIS, HEAD, make())


def test_what_is_a_lock() -> None:
    check_lock(GENESIS, HEAD, LOCK)
    check_lock(GENESIS, HEAD, FORGE.lock(CANDIDATE, signers=MEMBERS[:5]))
    check_lock(GENESIS, HEAD, FORGE.lock(CANDIDATE, (2, 2)))
