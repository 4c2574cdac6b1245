"""`paper`: its chain as the monitor checks it, and its known failures by name.

Algorithm 2 names members who announced themselves first, as their aggregator heard them. So nobody
can say beforehand who votes, and no premise about committees is there to be kept: what is violated
is violated, and gets the name of the weakness that it comes from (`consensus/README.md`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus.protocols.paper.server import PaperParticipant
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.torture.oracle import verify
from consensus.torture.oracle.reference import Ledger
from consensus.torture.oracle.verify import Betas, Seats
from consensus.torture.oracle.violation import Violation

if TYPE_CHECKING:
    from consensus.torture.arena.scenario import Scenario
    from consensus.torture.arena.world import TortureWorld


class PaperLedger(Ledger):
    """What was decided under `paper`."""

    phase = "approve"

    def __init__(self, genesis: Genesis, bad: frozenset[int]) -> None:
        super().__init__(genesis, bad)
        self.last: Block | None = None
        """The block that was appended last, or was about to be."""

    def form(self, height: int, attempt: int) -> Seats:
        """Nobody knows it beforehand."""
        return Seats({}, 1, ())

    def voters(self, block: Block) -> Seats:
        """Those that the block names."""
        seats = dict.fromkeys((ticket.server for ticket in block.tickets), 1)
        order = tuple(range(self.genesis.parameters.max_step))
        return Seats(seats, self.genesis.parameters.committee_size, order)

    def append(self, block: Block) -> None:
        self.last = block
        super().append(block)

    def check_draws(self, block: Block) -> tuple[bytes, Betas]:
        header = block.header
        betas = verify.betas_of(self.genesis, header.parent, header.height, block)
        if isinstance(betas, str):
            raise Violation("tickets", f"height {header.height}: {betas}")
        return b"", betas

    def check_rebuilding(self) -> None:
        """It is known not to differ; what that leads to is a violation where it does."""


def name_of(violation: Violation, scenario: Scenario, world: TortureWorld, ledger: Ledger) -> str:
    """The weakness of Algorithm 2 that a violation comes from; its own name where it is none."""
    names = {server: set(found) for server, found in scenario.malicious}
    match violation.invariant:
        case "one block per height":
            return _fork(ledger)
        case "exact aggregate" | "updates" | "content can be fetched":
            return _capture(ledger, names)
        case "one signature per slot":
            return "a crash forgets the vote"
        case "committed prefix":
            return "a crash undoes a block"
        case "a block within the bound":
            return _stall(world, names)
    return violation.invariant


def _fork(ledger: Ledger) -> str:
    block = ledger.last if isinstance(ledger, PaperLedger) else None
    assert block is not None
    first = ledger.decided[block.height - 1].block
    if first.certificate.view != block.certificate.view:
        return "fork across steps"
    return "fork of two committees in one step"


def _capture(ledger: Ledger, names: dict[int, set[str]]) -> str:
    block = ledger.last if isinstance(ledger, PaperLedger) else None
    assert block is not None
    seated = {ticket.server for ticket in block.tickets}
    if block.height > 1:
        ground = ledger.decided[block.height - 2].block.header.aggregator
        if "grind" in names.get(ground, ()):
            return "capture by grinding"
    if any("rush" in names.get(server, ()) for server in seated):
        return "capture by rushing"
    return "capture by an aggregator that names its members"


def _stall(world: TortureWorld, names: dict[int, set[str]]) -> str:
    behind = min(
        (server for server in world.servers if server.behaviour is None),
        key=lambda server: server.chain.height,
    )
    part = behind.participant
    if not isinstance(part, PaperParticipant):
        return "a block within the bound"
    tried = [candidate.header.aggregator for candidate in part.state.candidates.values()]
    spam = sum("spam" in names.get(server, ()) for server in tried)
    if tried and 2 * spam > len(tried):
        return "spam takes the steps"
    told = behind.predicament()
    if told.startswith("only"):
        return "deadlock: too few servers win a seat"
    if told:
        return "deadlock: the committee formed anew is the same"
    return "a block within the bound"
