"""A running server and a hundred thousand messages that nobody honest ever sent.

Genuine messages of every kind are altered in every way that a wire or a liar can alter them. What
comes out is decoded as it would be on arrival, and handed to a server. It must never crash; what is
not genuine must change nothing, and be counted (unless it is of another height, or says something
again that is known). What is genuine is told here from what was signed, not by the ledger's checks.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest

from consensus.encoding.cid import EncodingError
from consensus.encoding.dag_cbor import encode
from consensus.encoding.fields import MalformedRecord, Record
from consensus.encoding.unixfs import file_cid
from consensus.ledger.updates import SignedUpdate
from consensus.records.block import Turn
from consensus.records.evidence import Evidence
from consensus.records.settlement import Settlement
from consensus.records.sync import Delivery, Fetch, Status, Want
from consensus.records.update import UpdateRecord
from consensus.records.votes import PHASES, Certificate, TimeoutCertificate
from consensus.server.catching_up import EARLY_HEIGHTS
from consensus.server.message import BODIES, Malformed, Message, with_flipped_bit
from tests.helpers.bft_rig import Bench, snapshot
from tests.helpers.forge import Forge
from tests.helpers.toy import Toy

MAX = 2**63 - 1
SIGNED = (bytes(64), bytes(64))


class Corpus:
    """Genuine messages of a height, and what was really signed in them."""

    def __init__(self, crypto: str, seed: int = 3) -> None:
        self.toy = Toy(servers=7, clients=3, committee_size=6, crypto=crypto, seed=seed)
        self.forge = forge = Forge(self.toy)
        self.members, order = forge.members(), forge.order()
        self.index = next(server for server in self.members if server not in order)
        """The server under fire: a member that does not lead."""
        self.others = [server for server in self.members if server != self.index]
        self.first = forge.candidate()
        self.twin = forge.candidate(timestamp=2_000_000)
        lock = forge.lock(self.first)
        closing = forge.closing()
        locked = forge.closing(locks={self.members[0]: lock})
        everyone = forge.closing(everyone=True)
        second = forge.candidate(view=(0, 1), justification=closing)
        again = forge.again(self.first, (0, 1), locked)
        third = forge.candidate(view=(1, 0), justification=everyone)
        self.candidates = [self.first, self.twin, second, again, third]
        self.closings = [closing, locked, everyone]
        self.locks = [lock, forge.lock(second)]
        told = Evidence(0, 1, (0, 0), "soft", (self.first.header.cid, second.header.cid), SIGNED)
        self.settlements = [Settlement(None), Settlement(lock), Settlement(lock, (told,))]
        self.votes = [
            forge.vote(of, server, phase, proposal=of.proposal if phase == "soft" else b"")
            for of in self.candidates
            for server in forge.members(of.view[0])
            for phase in ("soft", "cert")
        ]
        self.timeouts = [
            forge.timeout(server, view, everyone, held)
            for server in range(7)
            for view, everyone, held in [
                ((0, 0), False, None),
                ((0, 0), False, lock),
                ((0, 1), False, None),
                ((0, 0), True, None),
                ((0, 0), True, lock),
            ]
            if everyone or server in self.members
        ]
        self.updates = [*forge.updates(), self.toy.update(0, value=9.0)]
        self.tickets = [forge.ticket(server) for server in range(7) if server != self.index]
        self.blocks = [forge.block(self.first), forge.block(self.first, view=(0, 1))]
        after = forge.after(self.blocks[0])
        self.messages: list[tuple[str, Any]] = [
            *[("ticket", body) for body in self.tickets],
            *[("update", body) for body in self.updates],
            *[("candidate", body) for body in self.candidates] * 2,
            *[("vote", body) for body in self.votes[::3]],
            *[("timeout", body) for body in self.timeouts[::3]],
            *[("closure", body) for body in self.closings] * 2,
            *[("lock", body) for body in self.locks] * 2,
            *[("block", body) for body in self.blocks] * 3,
            ("status", Status(0, 0, 1, (bytes(32),), (1, 2))),
            ("status", Status(4, 0, 0)),
            ("want", Want(1, tuple(update.record.digest for update in self.updates))),
            ("fetch", Fetch(1, self.blocks[0].header.aggregate_cid)),
            ("model", Delivery(self.blocks[0].header.aggregate_cid, bytes(8))),
            # of the next height
            ("ticket", after.ticket(0)),
            ("candidate", after.candidate()),
            ("vote", after.vote(after.candidate(), 0)),
            ("block", after.block()),
        ]
        self.records = [body for _, body in self.messages if isinstance(body, Record)]

    # -- what is genuine --------------------------------------------------------------------------

    def said(self, certificate: Certificate) -> bool:
        """Whether more than two thirds of the committee really signed this, each once."""
        genuine = {
            (vote.server, vote.signature)
            for of in self.candidates
            if of.header.cid == certificate.block
            for vote in [
                self.forge.vote(of, server, certificate.phase, certificate.view)
                for server in self.forge.members(certificate.attempt)
            ]
        }
        signers = [server for server, _ in certificate.signatures]
        return (
            certificate.height == 1
            and set(certificate.signatures) <= genuine
            and signers == sorted(set(signers))
            and len(signers) >= 5
        )

    def closes(self, certificate: TimeoutCertificate) -> bool:
        genuine = {
            (t.server, None if t.lock is None else t.lock.name, t.signature)
            for t in [
                self.forge.timeout(server, certificate.view, certificate.everyone, lock)
                for server in range(7)
                for lock in (None, *self.locks)
                if certificate.everyone or server in self.forge.members(certificate.attempt)
            ]
        }
        signers = [server for server, _, _ in certificate.entries]
        names = [name for _, name, _ in certificate.entries if name is not None]
        lock = certificate.lock
        if lock is None:
            honest = not names
        else:
            honest = lock.name in names and lock.name == max(names) and self.locked(lock)
        return (
            certificate.height == 1
            and set(certificate.entries) <= genuine
            and signers == sorted(set(signers))
            and len(signers) >= 5
            and honest
        )

    def locked(self, lock: Certificate) -> bool:
        return lock.phase == "soft" and lock.step < 3 and self.said(lock)

    def genuine(self, kind: str, body: Any) -> bool:
        """Whether somebody signed what ``body`` says."""
        if kind == "update":
            return body in self.updates
        if kind == "ticket":
            return body in self.tickets
        if kind == "vote":
            return any(replace(vote, proposal=body.proposal) == body for vote in self.votes)
        if kind == "timeout":
            if body.lock is not None and not self.locked(body.lock):
                return False
            name = None if body.lock is None else body.lock.name
            return any(
                replace(timeout, lock=None) == replace(body, lock=None)
                and name == (None if timeout.lock is None else timeout.lock.name)
                for timeout in self.timeouts
            )
        if kind == "candidate":
            why = body.justification
            return any(
                replace(of, justification=why) == body and (why is None or self.closes(why))
                for of in self.candidates
            )
        if kind == "closure":
            return self.closes(body)
        if kind == "lock":
            return self.locked(body)
        return any(
            (body.header, body.signature, body.tickets)
            == (block.header, block.signature, block.tickets)
            and body.certificate.phase == "cert"
            and body.certificate.block == block.cid
            and self.said(body.certificate)
            for block in self.blocks
        )


# -- how messages are altered ----------------------------------------------------------------------


class Fuzzer:
    """Draws alterations."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        self.corpus = corpus
        self.draw = np.random.default_rng(seed)
        self.ways: list[Callable[[str, Any], Any]] = [
            self.flip_one,
            self.flip_some,
            self.cut,
            self.noise,
            self.odd_node,
            *[self.field] * 4,
            self.swap,
            self.entries,
            self.other_kind,
        ]

    def pick(self, items: Any) -> Any:
        return items[int(self.draw.integers(len(items)))]

    def message(self) -> tuple[str, Any, str]:
        """(kind, body as it arrives, how it was altered)."""
        kind, body = self.pick(self.corpus.messages)
        way = self.pick(self.ways)
        return kind, way(kind, body), way.__name__

    # -- bytes

    def arrives(self, kind: str, body: Any, data: bytes) -> Any:
        """What the receiver makes of bytes sent in ``body``'s place."""
        if isinstance(body, SignedUpdate):
            try:
                return replace(body, record=UpdateRecord.decode(data))
            except MalformedRecord as error:
                return Malformed(data, str(error))
        try:
            return BODIES[kind].decode(data)
        except MalformedRecord as error:
            return Malformed(data, str(error))

    def encoded(self, body: Any) -> bytearray:
        return bytearray((body.record if isinstance(body, SignedUpdate) else body).encoded)

    def flip_one(self, kind: str, body: Any) -> Any:
        return with_flipped_bit(Message(kind, body, 0), float(self.draw.random())).body

    def flip_some(self, kind: str, body: Any) -> Any:
        data = self.encoded(body)
        for _ in range(int(self.draw.integers(1, 6))):
            data[int(self.draw.integers(len(data)))] ^= int(self.draw.integers(1, 256))
        return self.arrives(kind, body, bytes(data))

    def cut(self, kind: str, body: Any) -> Any:
        data = self.encoded(body)
        at = int(self.draw.integers(len(data) + 1))
        if self.draw.random() < 0.5:
            return self.arrives(kind, body, bytes(data[:at]))
        return self.arrives(kind, body, bytes(data[:at] + data[at // 2 :]))

    def noise(self, kind: str, body: Any) -> Any:
        return self.arrives(kind, body, self.draw.bytes(int(self.draw.integers(0, 200))))

    # -- nodes

    def odd(self) -> Any:
        return self.pick(
            [
                None,
                True,
                False,
                -1,
                0,
                1,
                2**63,
                2**64 - 1,
                0.5,
                float(np.float64(struct.unpack("<d", self.draw.bytes(8))[0])),
                "",
                "soft",
                "map",
                b"",
                bytes(32),
                bytes(36),
                bytes(64),
                self.draw.bytes(64),
                [],
                [[]],
                [0, 1, 2],
                {},
                {"height": 1},
            ]
        )

    def places(self, node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        found = [path]
        if isinstance(node, dict):
            for key, value in node.items():
                found += self.places(value, (*path, key))
        elif isinstance(node, list):
            for position, value in enumerate(node):
                found += self.places(value, (*path, position))
        return found

    def placed(self, node: Any, path: tuple[Any, ...], value: Any) -> Any:
        if not path:
            return value
        copy = dict(node) if isinstance(node, dict) else list(node)
        copy[path[0]] = self.placed(copy[path[0]], path[1:], value)
        return copy

    def odd_node(self, kind: str, body: Any) -> Any:
        """A value of another type, a surplus or a missing field somewhere inside."""
        record = body.record if isinstance(body, SignedUpdate) else body
        node = record.to_node()
        chance = self.draw.random()
        if chance < 0.1:
            node = {**node, self.pick(["surplus", ""]): self.odd()}
        elif chance < 0.2:
            node.pop(self.pick(sorted(node)))
        else:
            node = self.placed(node, self.pick(self.places(node)), self.odd())
        try:
            data = encode(node)
        except EncodingError:
            return self.odd()
        return self.arrives(kind, body, data)

    # -- fields

    def value(self, name: str, value: Any) -> Any:
        """Another value that the field may hold."""
        corpus, pick = self.corpus, self.pick
        if isinstance(value, bool):
            return not value
        if name == "height":
            return pick([1, 1, 2, 3, 7, MAX])
        if isinstance(value, int):
            return pick([0, 1, 2, 3, 4, 6, 7, 8, 100, MAX, value + 1, max(value - 1, 0)])
        if isinstance(value, str):
            return pick(PHASES)
        if value is None or isinstance(value, Certificate | TimeoutCertificate | Turn):
            of = corpus.candidates[3].turn
            return {
                "lock": pick([None, *corpus.locks]),
                "justification": pick([None, *corpus.closings]),
                "proof": pick(corpus.locks),
                "turn": pick([None, of, replace(of, step=2) if of else None]),
                "snapshot": pick([None, file_cid(b"state")]),
                "settlement": pick(corpus.settlements),
                "stakes": self.draw.bytes(32),
            }.get(name, value)
        if isinstance(value, bytes):
            if len(value) == 36:
                links = [of.header.cid for of in corpus.candidates]
                return pick([file_cid(b"other"), *links])
            if value and self.draw.random() < 0.5:
                changed = bytearray(value)
                changed[int(self.draw.integers(len(value)))] ^= int(self.draw.integers(1, 256))
                return bytes(changed)
            return pick([bytes(len(value)), self.draw.bytes(len(value))])
        return value

    def altered(self, record: Any) -> Any:
        """``record`` with one field, perhaps deep inside, of another value."""
        field = self.pick(fields(record))
        value = getattr(record, field.name)
        if is_dataclass(value) and self.draw.random() < 0.8:
            return replace(record, **{field.name: self.altered(value)})
        if isinstance(value, tuple) and value:
            position = int(self.draw.integers(len(value)))
            return replace(record, **{field.name: self.in_tuple(value, position)})
        return replace(record, **{field.name: self.value(field.name, value)})

    def in_tuple(self, items: tuple[Any, ...], position: int) -> tuple[Any, ...]:
        entry = items[position]
        if is_dataclass(entry):
            entry = self.altered(entry)
        elif isinstance(entry, tuple):
            inside = int(self.draw.integers(len(entry)))
            entry = self.in_tuple(entry, inside)
        else:
            entry = self.value("", entry)
        return (*items[:position], entry, *items[position + 1 :])

    def field(self, kind: str, body: Any) -> Any:
        if isinstance(body, SignedUpdate):
            if self.draw.random() < 0.3:
                size = int(self.draw.integers(0, 20))
                payloads = [self.draw.bytes(size), bytes(8), b"\x00\x00\xc0\x7f" * 2, b""]
                return replace(body, payload=self.pick(payloads))
            changed: Any = replace(body, record=self.altered(body.record))
            found = self.arrives(kind, body, changed.record.encoded)
        else:
            found = self.arrives(kind, body, self.altered(body).encoded)
        return found

    def swap(self, kind: str, body: Any) -> Any:
        """A field of another message of its kind."""
        others = [other for name, other in self.corpus.messages if name == kind]
        one, other = (
            (body.record, self.pick(others).record)
            if isinstance(body, SignedUpdate)
            else (body, self.pick(others))
        )
        name = self.pick(fields(one)).name
        changed = replace(one, **{name: getattr(other, name)})
        return self.arrives(kind, body, changed.encoded)

    def entries(self, kind: str, body: Any) -> Any:
        """Entries of a list dropped, doubled or put in another order."""
        record = body.record if isinstance(body, SignedUpdate) else body
        lists: list[tuple[Any, str, tuple[Any, ...]]] = []

        def search(found: Any, path: tuple[str, ...]) -> None:
            for field in fields(found):
                value = getattr(found, field.name)
                if isinstance(value, tuple) and value:
                    lists.append((path, field.name, value))
                elif is_dataclass(value):
                    search(value, (*path, field.name))

        search(record, ())
        if not lists:
            return self.field(kind, body)
        path, name, items = self.pick(lists)
        at = int(self.draw.integers(len(items)))
        shuffled = tuple(items[i] for i in self.draw.permutation(len(items)))
        changed = self.pick(
            [
                items[:at],
                items[at:],
                (*items, items[at]),
                shuffled,
                items[:at] + items[at + 1 :],
                (),
            ]
        )
        return self.arrives(kind, body, self.deep(record, path, name, changed).encoded)

    def deep(self, record: Any, path: tuple[str, ...], name: str, value: Any) -> Any:
        if not path:
            return replace(record, **{name: value})
        inner = self.deep(getattr(record, path[0]), path[1:], name, value)
        return replace(record, **{path[0]: inner})

    def other_kind(self, kind: str, body: Any) -> Any:
        """Something of another kind, or nothing of the sort."""
        other = self.pick(self.corpus.messages)[1]
        if type(other) is type(body):
            return self.odd()
        return self.pick([other, self.odd(), self.arrives(kind, body, bytes(self.encoded(other)))])


# -- what must come of them ------------------------------------------------------------------------


def waiting(corpus: Corpus) -> Bench:
    return Bench(corpus.index, corpus.toy)


def voting(corpus: Corpus) -> Bench:
    """All updates are here and two members have voted, as it has itself."""
    bench = waiting(corpus)
    for update in corpus.forge.updates():
        bench.hear("update", update)
    bench.hear("candidate", corpus.first)
    return bench.votes(corpus.first, corpus.others[:2])


def leaving(corpus: Corpus) -> Bench:
    """Its view is over; two members have left it too."""
    bench = voting(corpus).wake("view")
    return bench.timeouts(corpus.others[:2])


STAGES = (waiting, voting, leaving)


def is_known(bench: Bench, kind: str, body: Any) -> bool:
    """Whether the server has heard it before: then it is not even checked."""
    server, part, state = bench.server, bench.part, bench.part.state
    match kind:
        case "ticket":
            return body.server in part.tickets_held()
        case "update":
            return server.pool.pick([body.record.digest]) is not None
        case "candidate":
            known = state.candidates.get(body.view)
            return known is not None and known.header.cid == body.header.cid
        case "vote":
            key = (body.phase, (body.attempt, body.step), body.server)
            first = part.first_votes.get(key)
            return first is not None and first.block == body.block
        case "closure":
            return part.context.next_view(body) <= state.view
        case "lock":
            return any(lock.name == body.name for lock in state.promises.locks)
    return False


def campaign(corpus: Corpus, seed: int, count: int) -> Counter[str]:
    """Fire ``count`` messages at servers; what came of them."""
    fuzzer = Fuzzer(corpus, seed)
    outcome: Counter[str] = Counter()
    bench = STAGES[0](corpus)
    for number in range(count):
        if number % 300 == 0:
            bench = STAGES[number // 300 % len(STAGES)](corpus)
        kind, body, way = fuzzer.message()
        server = bench.server
        outcome[f"way {way}"] += 1
        outcome[f"kind {kind}"] += 1
        state, before = bench.part.state, snapshot(server)
        counted = sum(server.refused.values()) + sum(server.pool.rejected.values())
        server.receive(kind, body, int(fuzzer.draw.integers(7)))
        more = sum(server.refused.values()) + sum(server.pool.rejected.values()) - counted
        after = snapshot(server)
        asked = after["catch up"].pop("_asked") != before["catch up"].pop("_asked")
        if after["catch up"].pop("early") != before["catch up"].pop("early"):
            ahead = server.height_of[kind](body) - 1
            assert 1 <= ahead <= EARLY_HEIGHTS, "only what is of the next heights is kept"
        after["catch up"].pop("_early_from"), before["catch up"].pop("_early_from")
        early = after["fetching"].pop("_early")
        if early != before["fetching"].pop("_early") and kind == "fetch":
            assert body.height == 1, "only what may be answered soon is kept"
        same = bench.part.state is state and after == before
        where = f"message {number} of seed {seed}: {kind} by {way}: {body}"
        if type(body) is not BODIES[kind]:
            assert (same, more, asked) == (True, 1, False), where
            outcome["malformed"] += 1
        elif kind == "model":  # nobody has been asked for one
            assert (same, more, asked) == (True, 1, False), where
            outcome["refused"] += 1
        elif kind in ("status", "want", "fetch"):
            assert same, where
            assert more <= 1, where  # some get less than they ask for
            outcome["refused" if more else "a question"] += 1
        elif server.height_of[kind](body) != 1:
            assert (same, more) == (True, 0), where
            outcome["another height"] += 1
        elif corpus.genuine(kind, body):
            outcome["genuine"] += 1
            if not same or asked:
                bench = STAGES[number // 300 % len(STAGES)](corpus)
        elif is_known(bench, kind, body):
            assert (same, more, asked) == (True, 0, False), where
            outcome["known"] += 1
        else:
            assert (same, more, asked) == (True, 1, False), where
            outcome["refused"] += 1
    return outcome


@pytest.mark.parametrize("crypto", ["modelled", "real"])
def test_no_altered_message_is_taken_or_goes_uncounted(crypto: str) -> None:
    count = 4_000 if crypto == "modelled" else 1_200
    outcome = campaign(Corpus(crypto), 1, count)
    print(f"\n{crypto}: {dict(sorted(outcome.items()))}")
    for kind in BODIES:
        assert outcome[f"kind {kind}"] > 5, kind
    assert outcome["refused"] > count / 3
    assert outcome["malformed"] > count / 10
    for what in ("genuine", "known", "another height", "a question"):
        assert outcome[what] > 0, what


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_thousand_altered_messages() -> None:
    corpus, total = Corpus("modelled"), Counter[str]()
    for seed in range(100, 110):
        total += campaign(corpus, seed, 11_000)
    real = Corpus("real")
    for seed in range(200, 205):
        total += campaign(real, seed, 2_000)
    fired = sum(count for name, count in total.items() if name.startswith("kind "))
    print(f"\n{fired} messages: {dict(sorted(total.items()))}")
    assert fired - total["genuine"] >= 100_000
