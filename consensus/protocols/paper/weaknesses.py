"""The known weaknesses of Algorithm 2 (`consensus/README.md`), told from what they violate."""

from __future__ import annotations

from consensus.ledger.protocol import Failure


def name_of(failure: Failure) -> str:
    """The weakness of Algorithm 2 that a violation comes from; its own name where it is none."""
    match failure.invariant:
        case "one block per height":
            return _fork(failure)
        case "exact aggregate" | "updates" | "content can be fetched":
            return _capture(failure)
        case "one signature per slot":
            return "a crash forgets the vote"
        case "committed prefix":
            return "a crash undoes a block"
        case "a block within the bound":
            return _stall(failure)
    return failure.invariant


def _fork(failure: Failure) -> str:
    block = failure.last
    assert block is not None
    first = failure.decided[block.height - 1]
    if first.certificate.view != block.certificate.view:
        return "fork across steps"
    return "fork of two committees in one step"


def _capture(failure: Failure) -> str:
    block, names = failure.last, failure.behaviours
    assert block is not None
    seated = {ticket.server for ticket in block.tickets}
    if block.height > 1:
        ground = failure.decided[block.height - 2].header.aggregator
        if "grind" in names.get(ground, ()):
            return "capture by grinding"
    if any("rush" in names.get(server, ()) for server in seated):
        return "capture by rushing"
    return "capture by an aggregator that names its members"


def _stall(failure: Failure) -> str:
    behind, names = failure.behind, failure.behaviours
    tried = [candidate.header.aggregator for candidate in behind.state.candidates.values()]
    spam = sum("spam" in names.get(server, ()) for server in tried)
    if tried and 2 * spam > len(tried):
        return "spam takes the steps"
    told = behind.predicament()
    if told.startswith("only"):
        return "deadlock: too few servers win a seat"
    if told:
        return "deadlock: the committee formed anew is the same"
    return failure.invariant
