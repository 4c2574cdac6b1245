"""The adversary of a run that looks on, from its config, and what can be said of it beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import inf

from bfedrec.config.adversary import NONE
from bfedrec.config.schema import Config
from bfedrec.streams import Streams
from consensus.adversary.behaviour import Behaviour, Circle
from consensus.adversary.corruption import TARGETS, Budget
from consensus.adversary.delays import DELAYS, Schedule
from consensus.protocols.registry import protocol_named
from consensus.simulation.adversary import Adversary, Corruption
from consensus.simulation.observer import Observer
from consensus.simulation.results import HeightResult


def adversary_of(
    config: Config,
    streams: Streams,
    regions: tuple[int, ...],
    malicious: dict[int, Behaviour],
    observer: Observer,
) -> Adversary | None:
    """The adversary of a run, whose ``malicious`` servers it knows and adds to, and who passes on
    to ``observer`` what it sees; None if the config has none. ``regions``: of all servers."""
    settings = config.adversary
    if not settings.on:
        return None
    corruption = schedule = None
    corrupting, delaying = settings.corruption, settings.delays
    if corrupting.strategy != NONE:
        circle = next(
            (behaviour.circle for behaviour in malicious.values()), Circle(regions=regions)
        )
        budget = Budget(
            corrupting.at_once,
            corrupting.in_all or inf,
            corrupting.delay,
            corrupting.by,
            corrupting.hold or inf,
        )
        strategy = TARGETS.named(corrupting.strategy)
        corruption = Corruption(strategy, corrupting.behaviour, budget, circle)
    if delaying.strategy != NONE:
        schedule = Schedule(
            DELAYS.named(delaying.strategy),
            config.servers.count,
            malicious,
            delaying.bound_seconds,
        )
    stream = streams.generator
    return Adversary(
        observer, corruption, partial(stream, "corruption"), schedule, partial(stream, "delays")
    )


def warnings(config: Config) -> Iterator[str]:
    """The powers of an adversary of this config that go beyond the premises of its protocol, each
    in a line."""
    corrupting, delaying = config.adversary.corruption, config.adversary.delays
    committee, count = config.committee, config.servers.count
    protocol = protocol_named(config.protocol)
    if corrupting.strategy != NONE and committee.kind == "fixed" and protocol.committees_foreseen:
        yield from _seats(corrupting.at_once, committee.size, count)
    settle = committee.settle_seconds
    late = delaying.strategy != NONE and 2 * delaying.bound_seconds >= settle
    if late and protocol.has_locks:
        yield (
            f"adversary.delays: messages may take {delaying.bound_seconds:g} s, and twice that "
            f"is not less than committee.settle_seconds = {settle:g}: beyond the premise under "
            "which half of a committee may be malicious"
        )


def beyond_premise(result: HeightResult) -> str | None:
    """A line on a height at which an adversary had a third or more of a committee; None for
    another one."""
    if result.adversary is None:
        return None
    for attempt, (malicious, total) in enumerate(result.malicious_weight, 1):
        if 3 * malicious >= total:
            return (
                f"height {result.block.height}: malicious servers have {malicious} of {total} in "
                f"the committee of attempt {attempt}: a third or more is beyond the premise "
                "(told once; the summary counts such committees as blocked_committees)"
            )
    return None


def _seats(corrupted: int, size: int, servers: int) -> Iterator[str]:
    """The power of as many corrupted servers as there may be at once over a committee that they
    are chosen from, beside that of as many drawn by lot."""
    from consensus.ledger import capture_odds as odds  # loads SciPy's statistics

    for able, seats, by_lot in (
        ("capture", odds.seats_to_decide(size), odds.p_captured(servers, corrupted, size)),
        ("block", odds.seats_to_block(size), odds.p_blocked(servers, corrupted, size)),
    ):
        if corrupted >= seats:
            yield (
                f"adversary.corruption: {corrupted} servers at once are enough to {able} a "
                f"committee of {size} ({seats} seats); drawn by lot they would {able} "
                f"{100 * by_lot:.2g} % of them"
            )
            return
