"""`bfedrec torture`: play seeded scenarios of faults and attacks, checking every invariant.

Exit status: 0 no violation; 1 a violation (with ``--break all``: a rule that was switched off
without being noticed); 2 bad usage.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.progress import TextColumn
from rich.table import Table

from bfedrec.cli.bar import progress
from bfedrec.cli.engines import DEFAULT as DEFAULT_ENGINE
from bfedrec.cli.engines import add_engine
from bfedrec.cli.models import check_models
from bfedrec.cli.status import BAD_INPUT, CHECK_FAILED
from bfedrec.cli.torture_worlds import add_worlds, check_worlds, plan_of
from bfedrec.cli.twins import play_twins
from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.files import write_text
from bfedrec.report.torture import COUNTS, counts_of, figures_of, record_breaks, record_campaign
from bfedrec.runs.progress import duration
from bfedrec.screen import screen
from bfedrec.sweeps.engine import Engine
from bfedrec.sweeps.registry import engine_of
from consensus.protocols.registry import DEFAULT, PROTOCOLS
from consensus.torture.arena.attackers import known_behaviours
from consensus.torture.arena.scenario import BadScenario, Scenario
from consensus.torture.campaign import Found, Plan, Tally, conduct, cores, shrunk
from consensus.torture.mutants.by_protocol import breaks_of
from consensus.torture.run import Outcome, run
from consensus.torture.tracing import trace_of

#: A seed or two, of no more digits than a range of Python can have.
SEEDS = re.compile(r"[0-9]{1,18}(-[0-9]{1,18})?")
SEED = re.compile(r"[0-9]{1,18}")
#: Seconds between two lines where output is no terminal.
EVERY = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--seeds", metavar="A-B", default="0-999", help="seeds of the scenarios (default: 0-999)"
    )
    parser.add_argument(
        "--protocol", choices=tuple(PROTOCOLS), default=DEFAULT, help=f"default: {DEFAULT}"
    )
    parser.add_argument(
        "--servers", metavar="N", type=int, help="servers of every scenario (default: 4 to 16)"
    )
    add_engine(parser, "scenarios", "one per core")
    parser.add_argument(
        "--break",
        dest="rule",
        metavar="RULE",
        help="switch a rule of the protocol off and look for the first violation: list, all, or "
        f"one of those that list tells; of {DEFAULT}: " + ", ".join(breaks_of(DEFAULT)),
    )
    parser.add_argument(
        "--replay",
        metavar="SCENARIO",
        help="play one scenario, as a violation prints it, or that of a seed",
    )
    parser.add_argument(
        "--trace",
        metavar="FILE",
        type=Path,
        help="with --replay: write what the servers did and when, and the violation, to FILE; a "
        "seed's violation is shrunk before",
    )
    add_worlds(parser)
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="explore all states of a specification instead: list, all, or a name; with --break of "
        "one without a rule (--break list lists these rules)",
    )
    parser.add_argument(
        "--twins",
        metavar="ROUNDS",
        type=int,
        help="play every scenario of 4 servers, one of which runs twice, and 1 to 3 rounds instead",
    )
    parser.add_argument("--record", metavar="DIR", type=Path, help="write the results to DIR")
    parser.set_defaults(handler=torture_command)


def torture_command(parsed: argparse.Namespace) -> int:
    """Play the requested scenarios; return the exit status."""
    if parsed.trace is not None and parsed.replay is None:
        raise ConfigError(f"{COMMAND_LINE}: --trace {parsed.trace}: only with --replay")
    with engine_of(parsed.engine, parsed.jobs, cores()) as engine:
        return _play(parsed, engine)


def _play(parsed: argparse.Namespace, engine: Engine) -> int:
    for option in ("model", "twins", "replay"):
        if getattr(parsed, option) is not None and parsed.engine != DEFAULT_ENGINE:
            told = f"--engine {parsed.engine}: --{option} plays in this process"
            raise ConfigError(f"{COMMAND_LINE}: {told}")
    if parsed.model is not None:
        return check_models(parsed)
    if parsed.twins is not None:
        return play_twins(parsed)
    breaks = breaks_of(parsed.protocol)
    if parsed.rule == "list":
        for each in breaks.values():
            print(f"{each.name:<26} {each.what}")
        return 0
    if parsed.rule not in (None, "all", *breaks):
        known = ", ".join(breaks)
        raise ConfigError(f"{COMMAND_LINE}: --break {parsed.rule}: expected list, all, {known}")
    check_worlds(parsed)
    if parsed.replay is not None:
        return _replay(parsed)
    if parsed.rule == "all":
        return _break_all(parsed, engine)
    return _campaign(parsed, engine)


def parse_seeds(text: str) -> range:
    """Seeds A to B, both included, from ``A-B``, or one from ``A``; raises `ConfigError`."""
    low, dash, high = text.partition("-")
    if SEEDS.fullmatch(text) is None or (dash and int(high) < int(low)):
        raise ConfigError(f"{COMMAND_LINE}: --seeds {text[:80]}: expected A-B, as 0-999")
    return range(int(low), int(high or low) + 1)


# -- one scenario ---------------------------------------------------------------------------------


def _replay(parsed: argparse.Namespace) -> int:
    """Replay the scenario of a reported violation, or of a seed; return the exit status."""
    try:
        plan = plan_of(parsed, None if parsed.rule == "all" else parsed.rule)
        scenario = _scenario(parsed.replay, plan)
        with plan.applied():
            outcome = run(scenario, traced=True)
        if parsed.trace is not None:
            outcome = _traced(plan, outcome, parsed)
    except ValueError as error:  # also for a fault or a setting that fits no scenario
        raise ConfigError(f"{COMMAND_LINE}: --replay: {error}") from error
    for what in COUNTS:
        counts = sorted((+getattr(outcome, what)).items())
        if counts:
            print(f"{what}: " + ", ".join(f"{name} {count:,}" for name, count in counts))
    print(
        f"{outcome.heights} heights, attempts up to {outcome.attempt}, {outcome.events:,} events, "
        f"simulated {duration(outcome.simulated)}, trace {outcome.trace[:16]}"
    )
    if outcome.violated:
        print(f"violated: {outcome.invariant}: {outcome.what}")
        return CHECK_FAILED
    print("outside the premise" if outcome.outside else "every invariant holds")
    return 0


def _scenario(told: str, plan: Plan) -> Scenario:
    """The scenario of a text, or of a seed under a plan; raises ValueError."""
    if SEED.fullmatch(told) is not None:
        return plan.scenario(int(told))
    scenario = Scenario.from_text(told)
    named = [names for _, names in scenario.malicious]
    for name in (name for names in [*named, scenario.turncoats] for name in names):
        if name not in known_behaviours():
            raise BadScenario(f"no behaviour {name!r}, only {', '.join(known_behaviours())}")
    return scenario


def _traced(plan: Plan, outcome: Outcome, parsed: argparse.Namespace) -> Outcome:
    """Play a scenario again, shrunk if it is a seed's and violates, and write its trace."""
    found = Found(outcome.scenario.seed, outcome.invariant, outcome.what, outcome.scenario)
    if outcome.violated and SEED.fullmatch(parsed.replay) is not None:
        found = shrunk(plan, found)
    command = command_for(found, plan.rule)
    with plan.applied():
        outcome, trace = trace_of(found.scenario, command, plan.rule)
    write_text(parsed.trace, trace.encode())
    print(f"{command}\nwritten to {parsed.trace}")
    return outcome


def command_for(found: Found, rule: str | None) -> str:
    """Command line that replays this violation."""
    words, protocol = ["bfedrec", "torture"], found.scenario.protocol
    if rule is not None:
        words += ["--protocol", protocol] if protocol != DEFAULT else []
        words += ["--break", rule]
    return shlex.join([*words, "--replay", found.scenario.text()])


# -- a campaign -----------------------------------------------------------------------------------


class Display:
    """The progress of a campaign: a bar on a terminal, occasional lines elsewhere."""

    def __init__(self, what: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._bar = progress(what, TextColumn("{task.fields[told]}"))
        self._task = self._bar.add_task(what, total=total, told="")
        self._total = total
        self._clock = clock
        self._began = self._told = clock()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the campaign began."""
        return self._clock() - self._began

    def update(self, tally: Tally) -> None:
        """Show the progress."""
        pace = tally.scenarios / max(self.seconds, 1e-9)
        told = f"{pace:,.0f}/s  violations {tally.violations.total():,}"
        self._bar.update(self._task, completed=tally.scenarios, told=told)
        if self._bar.disable and self._clock() - self._told >= EVERY:
            self._told = self._clock()
            line = f"{tally.scenarios:,}/{self._total:,} scenarios  {told}"
            print(line, file=sys.stderr, flush=True)


def _campaign(parsed: argparse.Namespace, engine: Engine) -> int:
    seeds = parse_seeds(parsed.seeds)
    plan = plan_of(parsed, parsed.rule)
    stop = parsed.rule is not None
    with (
        engine.workers() as workers,
        Display(parsed.rule or parsed.protocol, len(seeds)) as display,
    ):
        tally = conduct(plan, seeds, workers, display.update, stop)
        seconds = display.seconds
    _print(tally, seconds)
    told: set[str] = set()
    for found in tally.found:
        print(f"seed {found.seed}: {found.invariant}: {found.what}")
        if found.invariant not in told:
            told.add(found.invariant)
            print(f"  {command_for(shrunk(plan, found), parsed.rule)}")
    if parsed.rule is not None and not tally.found:
        print(f"--break {parsed.rule}: not found in {tally.scenarios:,} scenarios")
    if tally.lost:
        return _lost(tally)
    if parsed.record is not None:
        print(f"recorded in {record_campaign(parsed, tally, seconds)}")
    return CHECK_FAILED if tally.violations else 0


def _lost(tally: Tally) -> int:
    """Tell of seeds that were given up, without which nothing is recorded; return the status."""
    for lost in tally.lost:
        print(f"bfedrec: {lost}; nothing is recorded", file=sys.stderr)
    return BAD_INPUT


def _print(tally: Tally, seconds: float) -> None:
    console = screen(160)
    figures = figures_of(tally, seconds)
    table = Table(box=SIMPLE_HEAD, title="how often each really happened")
    columns = []
    for what, counts in counts_of(tally).items():
        table.add_column(what)
        columns.append([f"{count:>9,} {name}" for name, count in counts.items()])
    for row in range(max(map(len, columns))):
        table.add_row(*(column[row] if row < len(column) else "" for column in columns))
    console.print(table)
    for name, value in figures.items():
        if isinstance(value, int | float):
            print(f"  {name:<36} {value:>14,}")
    for invariant, count in tally.violations.most_common():
        print(f"  violated: {invariant}: {count:,}")


def _break_all(parsed: argparse.Namespace, engine: Engine) -> int:
    """Switch every rule off in turn; return the exit status."""
    seeds = parse_seeds(parsed.seeds)
    found: dict[str, tuple[Tally, str]] = {}
    breaks = breaks_of(parsed.protocol)
    with engine.workers() as workers:
        for rule in breaks:
            plan = plan_of(parsed, rule)
            with Display(rule, len(seeds)) as display:
                tally = conduct(plan, seeds, workers, display.update, True)
            if tally.lost:
                return _lost(tally)
            first = tally.found[0] if tally.found else None
            found[rule] = (tally, "" if first is None else command_for(first, rule))
            told = "NOT FOUND" if first is None else f"seed {first.seed}: {first.invariant}"
            print(f"{rule:<26} {told}", flush=True)
    missed = [rule for rule, (tally, _) in found.items() if not tally.found]
    print(f"{len(breaks) - len(missed)} of {len(breaks)} rules, switched off, were found out")
    if parsed.record is not None:
        print(f"recorded in {record_breaks(parsed, found)}")
    return CHECK_FAILED if missed else 0
