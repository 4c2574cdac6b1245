"""One scenario, from its start to its verdict.

A safety phase with faults comes first; the last height is decided only after all of them have
healed. Then every honest server must reach that height within `patience`, and the invariants of the
end are checked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from consensus.adversary.behaviour import Behaviour, Circle
from consensus.adversary.groups import acts
from consensus.adversary.when import When
from consensus.crypto.suites import modelled_signature
from consensus.faults.faults import Faults, fault_from_node
from consensus.ledger.committee import next_beacon
from consensus.ledger.protocol import Failure
from consensus.ledger.sortition import race_key, role_hash
from consensus.protocols.registry import protocol_named
from consensus.records.ticket import Ticket
from consensus.records.update import UpdateRecord
from consensus.records.view import proposal_digest
from consensus.records.votes import Timeout, Vote
from consensus.server.edge_server import EdgeServer
from consensus.simulation.observer import UNSEEN, Observer
from consensus.torture.arena.attackers import Adversary
from consensus.torture.arena.rig import genesis_of, graph_of, stream
from consensus.torture.arena.scenario import Scenario
from consensus.torture.arena.world import TortureWorld
from consensus.torture.oracle import verify
from consensus.torture.oracle.ending import check_ending, check_regardless
from consensus.torture.oracle.monitor import Monitor
from consensus.torture.oracle.reference import Ledger
from consensus.torture.oracle.violation import Violation

#: Functions with caches. No scenario can use another's results: cleared after each, the caches stay
#: small enough for a processor's own.
MEMOS = (
    next_beacon,
    role_hash,
    race_key,
    modelled_signature,
    UpdateRecord.signing_digest,
    Ticket.alpha,
    Vote.signing_digest,
    Timeout.signing_digest,
    proposal_digest,
    verify.signed,
)
#: Attempts, beyond the furthest before healing, that the bound of liveness allows for: with fewer
#: than a third of the leaders malicious, the chance that none of so many attempts has an honest
#: one is below 1e-9.
ATTEMPTS = 20
#: The same where up to half of a committee may be malicious: of four servers with a malicious one
#: three sit and one leads, so that only three attempts in sixteen can decide. That none of so many
#: does has a chance below 1e-10.
ATTEMPTS_OF_HALF = 120
#: Attempts of timers half as long again each, after which servers that began one at different times
#: are in it together for more than half of it, as they began it less than two timers apart.
OVERLAP = 4
#: Invariants of a decided block that need an honest server in every quorum, no more: a committee of
#: its height may violate them that malicious members have captured.
LOOKED_AT = frozenset({"exact aggregate", "updates", "content can be fetched"})
#: Those that a committee of the block's height outside of the premise, or a network slower than it,
#: may violate.
ONE_BLOCK = frozenset({"one block per height", "committed prefix"})
#: Those of the end and of time, which anything outside of the premise may violate. Nothing excuses
#: any other: an honest server that crashes, signs twice, accuses an honest one or appends what its
#: own checks are to refuse.
OF_THE_END = frozenset(
    {
        "heights within one",
        "a block within the bound",
        "updates are not censored",
        "a rebuilt committee differs",
        "queues stay bounded",
        "content can be fetched",
    }
)
#: Seconds, and attempts, for which a scenario is played in which too many are malicious for
#: liveness.
BRIEFLY, FEW = 10.0, 5
#: A server that the text of a violation names.
SERVER = re.compile(r"server ([0-9]+)")
#: Seconds allowed for everything that does not depend on the timers.
SLACK = 10.0


@dataclass
class Outcome:
    """Result of one scenario."""

    scenario: Scenario
    invariant: str = ""
    """The invariant that was violated; empty if none was."""
    what: str = ""
    servers: tuple[int, ...] = ()
    """The servers that the violation names, and the one at which it showed."""
    outside: bool = False
    """True if a committee formed outside of the premise; what depends on it is not judged then."""
    faults: Counter[str] = field(default_factory=Counter)
    behaviours: Counter[str] = field(default_factory=Counter)
    branches: Counter[str] = field(default_factory=Counter)
    heights: int = 0
    attempt: int = 0
    """The highest attempt of an honest server."""
    events: int = 0
    clients: Counter[str] = field(default_factory=Counter)
    """Number of each action of hostile clients."""
    simulated: float = 0.0
    waited: float = 0.0
    """Share of the liveness bound that was used."""
    trace: str = ""
    """Digest of all messages and blocks, if a trace was asked for."""

    @property
    def violated(self) -> bool:
        """True if an invariant was violated."""
        return bool(self.invariant)


def healing_time(scenario: Scenario) -> float:
    """The time in seconds from which no fault is active and all delayed messages have arrived."""
    until = straggle = 0.0
    for fault in scenario.faults:
        until = max(until, float(fault["until"]))
        if "delay" in fault:
            straggle = max(straggle, 10.0 * float(fault["delay"]))
        if "reorder" in fault:
            straggle = max(straggle, float(fault.get("seconds", 1.0)))
    return until + straggle


def patience(scenario: Scenario, attempt: int, behind: int) -> float:
    """The liveness bound: seconds after healing within which the last height must be decided.

    ``attempt``: the furthest attempt at healing; ``behind``: heights that are still to be decided.
    A height collects its updates and tickets. Then, in the worst case, come all steps of as many
    attempts as are likely to lack an honest leader; each step takes its whole timer, and is closed
    by timeouts that were lost once and sent again. A whole attempt may wait for the recovery timer.
    """
    allowed, resend = _allowed(scenario), scenario.resend / 1e3
    start = (scenario.update + scenario.ticket) / 1e3 + 3 * resend
    rules = protocol_named(scenario.protocol)
    if not rules.timers_grow:  # a blocked height stays blocked
        return SLACK + behind * (start + allowed * (scenario.vote / 1e3 + resend))
    attempts = attempt + allowed
    if rules.timer_base > 1.0:
        return SLACK + behind * (start + _exponential(scenario, rules.timer_base, attempt))
    step = scenario.vote / 1e3 * (2 + attempts) / 2 + 3 * resend
    whole = scenario.max_step * step + scenario.recovery / 1e3
    return SLACK + behind * (start + allowed * whole)


def _exponential(scenario: Scenario, base: float, attempt: int) -> float:
    """Seconds that all attempts may take together until one decides, each ``base`` times as long as
    the one before: some until all honest servers are in one attempt for long enough, wherever they
    stood, and then those of all silent leaders and another one. What was lost once is sent
    again."""
    attempts = attempt + OVERLAP + (scenario.committee_size - 1) // 3 + 1
    timers = 2.0 * scenario.vote / 1e3 * (base ** (attempts + 1) - 1.0) / (base - 1.0)
    return timers + 3 * scenario.resend / 1e3 * (attempts + 1)


def _allowed(scenario: Scenario) -> int:
    return ATTEMPTS_OF_HALF if scenario.premise == "half" else ATTEMPTS


def faults_of(scenario: Scenario) -> Faults:
    """The faults of a scenario, with the servers of each drawn."""
    faults = [fault_from_node(node) for node in scenario.faults]
    return Faults(faults, scenario.servers, stream(scenario.seed, 4))


def behaviours_of(scenario: Scenario) -> dict[int, Behaviour]:
    """The behaviours of the servers of a scenario that are malicious from the start."""
    regions = tuple(map(int, graph_of(scenario).regions))
    circle = Circle(scenario.bad, regions)
    return {
        server: Adversary(names, When(scenario.onset), circle)
        for server, names in scenario.malicious
    }


def run(
    scenario: Scenario,
    traced: bool = False,
    observer: Observer = UNSEEN,
    behaviours: dict[int, Behaviour] | None = None,
) -> Outcome:
    """Play a scenario to its end, before an ``observer``. An exception in a server's code is not
    raised but reported, as a violation of "no crash". ``traced``: true to compute the trace;
    ``behaviours``: those of the scenario, to which the servers that are corrupted come."""
    outcome = Outcome(scenario)
    genesis = genesis_of(scenario)
    if behaviours is None:
        behaviours = behaviours_of(scenario)
    bad, half = behaviours.keys(), scenario.premise == "half"
    monitor = Monitor(genesis, bad, traced, half, _skewed(scenario))
    faults = faults_of(scenario)
    world = TortureWorld(scenario, genesis, behaviours, faults, monitor, observer)
    monitor.world = world
    found: Violation | None = None
    try:
        _play(scenario, outcome, world, monitor)
    except Violation as violation:
        outcome.invariant, outcome.what = violation.invariant, violation.what
        named = {int(server) for server in SERVER.findall(violation.what)}
        named |= set() if monitor.acting is None else {monitor.acting}
        outcome.servers = tuple(sorted(named))
        found = violation
    except Exception as error:  # a handler that raises would have stopped its server
        outcome.invariant = "no crash"
        outcome.what = f"{type(error).__name__}: {error} ({_where(error)})"
    ledger = monitor.ledger
    slow = world.greatest_delay > scenario.bound / 1e3 + 1e-9
    outcome.outside = ledger.outside or slow
    if found is not None:
        outcome.invariant = _named(found, scenario, world, monitor)
        late = outcome.invariant == "a block within the bound" and not scenario.lives
        if late or is_excused(outcome.invariant, found.height, ledger, slow):
            outcome.invariant = outcome.what = ""
            outcome.servers = ()
    outcome.heights = len(ledger.decided)
    outcome.attempt = monitor.attempt
    outcome.events = next(world.env.numbers)
    outcome.simulated = world.env.now
    outcome.faults = faults.fired
    outcome.behaviours = acts(behaviours.values())
    outcome.clients = world.clients.acted
    outcome.branches = monitor.branches
    outcome.branches["seats filled by public draws"] += ledger.spares
    if scenario.incentives:
        outcome.branches["evidence that took stake"] += ledger.purses.slashed
        outcome.branches["use that was paid"] += ledger.purses.useful
    outcome.branches["settle timer"] += world.settled
    outcome.trace = monitor.trace
    world.end()
    for memo in MEMOS:
        memo.cache_clear()
    return outcome


def is_excused(invariant: str, height: int | None, ledger: Ledger, slow: bool) -> bool:
    """True if what is outside of the premise may have violated an invariant (at the ``height`` of a
    decided block, if it is one of those): a committee or, where messages were ``slow``, the
    network."""
    if height is None:
        return invariant in OF_THE_END and (slow or ledger.outside)
    if invariant in LOOKED_AT:
        return ledger.is_captured(height)
    return invariant in ONE_BLOCK and (slow or ledger.is_outside(height))


def _named(violation: Violation, scenario: Scenario, world: TortureWorld, monitor: Monitor) -> str:
    """Name of the known weakness that a violation shows, or of the invariant that it violates."""
    honest = (server for server in world.servers if server.behaviour is None)
    failure = Failure(
        violation.invariant,
        {
            server: frozenset(each.names)
            for server, each in world.behaviours.items()
            if isinstance(each, Adversary)
        },
        [decided.block for decided in monitor.ledger.decided],
        monitor.ledger.last,
        min(honest, key=lambda server: server.chain.height).participant,
    )
    return protocol_named(scenario.protocol).weakness(failure)


def _skewed(scenario: Scenario) -> bool:
    return any("skew" in fault for fault in scenario.faults)


def _where(error: BaseException) -> str:
    """The innermost place in the tested code that an exception came through."""
    trace, place = error.__traceback__, "?"
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "torture" not in file:
            place = f"{file.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _play(scenario: Scenario, outcome: Outcome, world: TortureWorld, monitor: Monitor) -> None:
    env, last = world.env, scenario.heights
    world.clients.open = last - 1
    world.start()
    healed = healing_time(scenario)
    if healed > 0.0:
        env.run(until=healed)
        queued = world.backlog()
        if queued > 0.0:  # it takes as long to leave throttled links
            healed += queued
            env.run(until=healed)
    if monitor.ledger.outside:
        check_regardless(world, monitor)
        return
    honest = [server for server in world.servers if server.behaviour is None]
    behind = last - min(server.chain.height for server in honest)
    bound = patience(scenario, monitor.attempt, behind) if scenario.lives else BRIEFLY
    monitor.limit = monitor.attempt + (2 * _allowed(scenario) if scenario.lives else FEW)
    world.open_height(last)
    reached = world.when_all_at(last, [server.index for server in honest])
    env.run(until=reached | env.timeout(bound))
    outcome.waited = (env.now - healed) / bound
    honest = [server for server in honest if server.behaviour is None]
    monitor.acting = None
    if monitor.ledger.outside:
        check_regardless(world, monitor)
        return
    if not reached.triggered:
        heights = sorted(server.chain.height for server in honest)
        stages = sorted(server.stage() for server in honest)
        raise Violation(
            "a block within the bound",
            f"{bound:.0f} s after healing honest servers are at heights {heights[0]}-"
            f"{heights[-1]} of {last}, views {stages[0]}-{stages[-1]}",
        )
    _await_models(scenario, world, honest)
    check_ending(scenario, world, monitor, healed)


def _await_models(scenario: Scenario, world: TortureWorld, honest: Sequence[EdgeServer]) -> None:
    """Wait until every honest server has the models of all its blocks, no longer than it takes to
    ask everybody in turn; they are fetched while the heights go on."""
    env, resend = world.env, scenario.resend / 1e3
    latest = env.now + SLACK + 2 * scenario.servers * resend
    while True:
        lacking = [s.index for s in honest if s.lacking and s.behaviour is None]
        if not lacking:
            return
        if env.now > latest:
            raise Violation("content can be fetched", f"servers {lacking} lack models for ever")
        env.run(until=env.now + resend)
