"""`bfedrec torture`: seeded scenarios of faults and attacks, every invariant checked."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bfedrec.config import COMMAND_LINE, ConfigError
from bfedrec.manifest import ROOT, git_state, machine, now
from consensus.torture.breaks import BREAKS
from consensus.torture.campaign import Plan, Tally, campaign
from consensus.torture.run import Outcome
from consensus.torture.scenario import BadScenario, Scenario
from consensus.torture.shrinking import shrink

CHECK_FAILED = 1
#: So many violations are shrunk and told one by one.
TOLD = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--seeds", metavar="A-B", default="0-999", help="seeds of the scenarios (default: 0-999)"
    )
    parser.add_argument("--protocol", choices=("bft", "paper"), default="bft", help="default: bft")
    parser.add_argument(
        "--servers", metavar="N", type=int, help="servers of every scenario (default: 4 to 16)"
    )
    parser.add_argument(
        "--jobs",
        metavar="J",
        type=int,
        default=os.cpu_count() or 1,
        help="processes (default: one per processor)",
    )
    parser.add_argument(
        "--break",
        dest="rule",
        metavar="RULE",
        help="switch a rule off and look for the first violation: list, all, or one of "
        + ", ".join(BREAKS),
    )
    parser.add_argument(
        "--replay", metavar="SCENARIO", help="play one scenario, as a violation tells"
    )
    parser.add_argument("--record", metavar="DIR", type=Path, help="write what it came to there")


def torture_command(parsed: argparse.Namespace) -> int:
    """Play scenarios; 0, or 1 if an invariant was violated (with ``--break all``: if a rule that
    is switched off was not found out)."""
    if parsed.rule == "list":
        for each in BREAKS.values():
            print(f"{each.name:<24} {each.what}")
        return 0
    if parsed.rule not in (None, "all") and parsed.rule not in BREAKS:
        raise ConfigError(
            f"{COMMAND_LINE}: --break {parsed.rule}: expected list, all or one of "
            f"{', '.join(BREAKS)}"
        )
    if parsed.servers is not None and parsed.servers < 4:
        raise ConfigError(f"{COMMAND_LINE}: --servers {parsed.servers}: expected int >= 4")
    if parsed.jobs < 1:
        raise ConfigError(f"{COMMAND_LINE}: --jobs {parsed.jobs}: expected int >= 1")
    if parsed.replay is not None:
        return _replay(parsed)
    seeds = _seeds(parsed.seeds)
    if parsed.rule == "all":
        return _break_all(parsed, seeds)
    plan = Plan(parsed.protocol, parsed.servers, parsed.rule)
    began = time.perf_counter()
    tally = _watched(plan, seeds, parsed.jobs, parsed.rule is not None)
    wall = time.perf_counter() - began
    _print(tally, wall)
    for outcome in tally.violations[:TOLD]:
        _tell(shrink(outcome, plan.play), plan)
    if len(tally.violations) > TOLD:
        print(f"... and {len(tally.violations) - TOLD} more")
    if parsed.record is not None:
        _record(parsed, tally, wall)
    return CHECK_FAILED if tally.violations else 0


def _seeds(text: str) -> range:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise ConfigError(f"{COMMAND_LINE}: --seeds {text}: expected A-B, as 0-999")
    return range(int(match[1]), int(match[2] or match[1]) + 1)


def _replay(parsed: argparse.Namespace) -> int:
    """Play the one scenario that a violation told."""
    try:
        scenario = Scenario.from_text(parsed.replay)
    except BadScenario as error:
        raise ConfigError(f"{COMMAND_LINE}: --replay: {error}") from None
    plan = Plan(scenario.protocol, None, None if parsed.rule == "all" else parsed.rule)
    outcome = plan.play(scenario)
    if outcome.violated:
        _tell(outcome, plan)
        return CHECK_FAILED
    what = "outside the premise" if outcome.outside else "every invariant holds"
    print(f"{what}; {outcome.heights} heights, {outcome.simulated:.1f} simulated s")
    return 0


def _break_all(parsed: argparse.Namespace, seeds: range) -> int:
    """Switch every rule off in turn."""
    table = Table(title="rules switched off", box=SIMPLE_HEAD)
    for heading in ("rule", "what goes wrong", "found at seed", "invariant violated"):
        table.add_column(heading)
    missed, found = 0, {}
    for rule in BREAKS:
        tally = _watched(Plan(parsed.protocol, parsed.servers, rule), seeds, parsed.jobs, True)
        first = tally.violations[0] if tally.violations else None
        missed += first is None
        seed = "not found" if first is None else str(first.scenario.seed)
        invariant = "" if first is None else first.invariant
        found[rule] = {"seed": None if first is None else first.scenario.seed, "what": invariant}
        table.add_row(rule, BREAKS[rule].what, seed, invariant)
    _console().print(table)
    if parsed.record is not None:
        _write(parsed.record / "breaks.json", _head() | {"rules": found})
    return CHECK_FAILED if missed else 0


def _watched(plan: Plan, seeds: range, jobs: int, until_found: bool) -> Tally:
    """A campaign, with a line of progress."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[found]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(plan.rule or plan.protocol, total=len(seeds), found="")

        def heard(tally: Tally) -> None:
            found = f"{len(tally.violations)} violations"
            bar.update(task, completed=tally.scenarios, found=found)

        return campaign(plan, seeds, jobs, until_found, heard)


def _tell(outcome: Outcome, plan: Plan) -> None:
    """A violation in one line, and the command that shows it again."""
    words = ["bfedrec", "torture", "--replay", outcome.scenario.text()]
    if plan.rule is not None:
        words += ["--break", plan.rule]
    print(f"seed {outcome.scenario.seed}: {outcome.invariant}: {outcome.what}")
    print(f"  {shlex.join(words)}")


# -- what is shown and recorded -------------------------------------------------------------------


def _console() -> Console:
    console = Console()
    # A file or a pipe has no width to fit: keep the rows whole.
    return console if console.is_terminal else Console(width=200)


def _figures(tally: Tally, wall: float) -> dict[str, Any]:
    return {
        "scenarios": tally.scenarios,
        "violations": len(tally.violations),
        "outside_premise": tally.outside,
        "played_twice_alike": tally.repeated,
        "heights": tally.heights,
        "events": tally.events,
        "simulated_seconds": round(tally.simulated, 1),
        "wall_seconds": round(wall, 1),
        "scenarios_per_second_and_core": round(tally.scenarios / max(tally.processor, 1e-9), 1),
        "largest_share_of_liveness_bound": round(tally.waited, 3),
    }


def _coverage(tally: Tally) -> dict[str, Mapping[str, int]]:
    return {
        "faults": tally.faults,
        "behaviours": tally.behaviours,
        "clients": tally.clients,
        "branches": tally.branches,
    }


def _print(tally: Tally, wall: float) -> None:
    table = Table(title="what really happened", box=SIMPLE_HEAD)
    for heading in ("", "", "times"):
        table.add_column(heading, justify="right" if heading else "left")
    for group, counts in _coverage(tally).items():
        for name in sorted(counts):
            table.add_row(group, name, f"{counts[name]:,}")
    _console().print(table)
    for name, value in _figures(tally, wall).items():
        print(f"  {name:<34} {value:,}")
    for invariant, count in Counter(o.invariant for o in tally.violations).most_common():
        print(f"  violated: {invariant}: {count:,}")


def _head() -> dict[str, Any]:
    return {
        "command": shlex.join(["bfedrec", *sys.argv[1:]]),
        "finished": now(),
        "git": git_state(ROOT),
        "machine": machine(),
    }


def _record(parsed: argparse.Namespace, tally: Tally, wall: float) -> None:
    """Write a campaign's figures."""
    told = [
        {
            "seed": outcome.scenario.seed,
            "invariant": outcome.invariant,
            "what": outcome.what,
            "scenario": outcome.scenario.text(),
        }
        for outcome in tally.violations[:100]
    ]
    by_invariant = Counter(outcome.invariant for outcome in tally.violations)
    coverage = {group: dict(sorted(c.items())) for group, c in _coverage(tally).items()}
    found = {"figures": _figures(tally, wall), "violated": dict(by_invariant.most_common())}
    name = f"torture-{parsed.protocol}" + (f"-{parsed.servers}" if parsed.servers else "")
    name += f"-{parsed.rule}" if parsed.rule else ""
    _write(parsed.record / f"{name}.json", _head() | found | coverage | {"first": told})


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"recorded in {path}")
