"""One server's way through a height under `tendermint`, event by event, without keys or a clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from consensus.encoding.unixfs import file_cid
from consensus.ledger.committee import Committee
from consensus.ledger.validity import Sortition
from consensus.protocols.bft.standing import HeightContext
from consensus.protocols.tendermint import vote as tendermint
from consensus.protocols.tendermint.state import Promises, Step
from consensus.records.block import Candidate, Header, Turn
from consensus.records.votes import Certificate, Vote

# Five servers, of which four sit: f = 1, so that 2f + 1 is three and f + 1 is two. They propose in
# the order 0, 1, 2, 3.
MEMBERS, HEIGHT = (0, 1, 2, 3), 4
COMMITTEE = Committee(dict.fromkeys(MEMBERS, 1), 4)
BYSTANDER = 4


def sortition(round: int) -> Sortition:
    return Sortition(COMMITTEE, (MEMBERS[round % 4],))


def context_of(index: int = 3) -> HeightContext:
    return HeightContext(index, HEIGHT, COMMITTEE, sortition)


CONTEXT = context_of()


def proposal(round: int = 0, salt: int = 0, aggregator: int | None = None) -> Candidate:
    """<PROPOSAL, h, round, v, -1>: a new value."""
    who = MEMBERS[round % 4] if aggregator is None else aggregator
    header = Header(
        bytes(32), HEIGHT, round, 0, 1_000 + salt, file_cid(b"parent"), who, bytes(32), bytes(32),
        1, 1, file_cid(b"model"), None,
    )  # fmt: skip
    return Candidate(header, bytes(64), (), ())


def vote(server: int, value: Candidate | bytes, round: int = 0, phase: str = "prevote") -> Vote:
    """<PREVOTE, h, round, id(v)>, or <PRECOMMIT, ...>."""
    block = value if isinstance(value, bytes) else value.header.cid
    return Vote(bytes(32), HEIGHT, round, 0, phase, block, server, bytes([server] * 64))


def proof(value: Candidate, round: int, servers: Iterable[int] = (0, 1, 2)) -> Certificate:
    """2f + 1 <PREVOTE, h, round, id(v)>."""
    signed = tuple((server, bytes([server] * 64)) for server in servers)
    return Certificate(HEIGHT, round, 0, "prevote", value.header.cid, signed)


def again(first: Candidate, round: int, valid_round: int, by: int | None = None) -> Candidate:
    """<PROPOSAL, h, round, v, valid_round>: a value that was proposed before."""
    who = MEMBERS[round % 4] if by is None else by
    turn = Turn(round, 0, who, bytes(64))
    return replace(first, turn=turn, proof=proof(first, valid_round))


class Run:
    """A server at a height, and what it did."""

    def __init__(self, context: HeightContext = CONTEXT, promises: Promises | None = None) -> None:
        self.context = context
        self.effects: list[Any] = []
        self.last: tuple[Any, ...] = ()
        self._take(tendermint.begin(context, promises or Promises(HEIGHT)))

    def _take(self, step: Step) -> Run:
        self.state, self.last = step
        self.effects += self.last
        return self

    def hear(self, value: Candidate, valid: bool | None = True, timely: bool = True) -> Run:
        """A proposal arrives, with the prevotes of its proof, and is judged (None: not yet)."""
        assert tendermint.follows(self.context, value) is None
        if value.proof is not None:
            signers = [server for server, _ in value.proof.signatures]
            self.votes(signers, value, value.proof.attempt)
        self._take(tendermint.on_proposal(self.context, self.state, value))
        return self if valid is None else self.judged(value, valid, timely)

    def judged(self, value: Candidate, valid: bool = True, timely: bool = True) -> Run:
        block = value.header.cid
        return self._take(tendermint.on_judged(self.context, self.state, block, valid, not timely))

    def votes(
        self,
        servers: Iterable[int],
        value: Candidate | bytes,
        round: int = 0,
        phase: str = "prevote",
    ) -> Run:
        for server in servers:
            said = [vote(server, value, round, phase)]
            self._take(tendermint.on_votes(self.context, self.state, said))
        return self

    def timer(self, what: str, round: int | None = None) -> Run:
        at = self.state.round if round is None else round
        return self._take(tendermint.on_timer(self.context, self.state, what, at))

    def did(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def reach(self, round: int) -> Run:
        """Rounds fail: nobody proposes, all vote nil."""
        while self.state.round < round:
            at = self.state.round
            self.timer("propose").votes((0, 1, 2), tendermint.NIL, at)
            self.votes((0, 1, 2), tendermint.NIL, at, "precommit").timer("precommit")
        return self
