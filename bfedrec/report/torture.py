"""The results of a torture campaign as files: JSON for programs, Markdown for people."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from consensus.encoding.node import Node
from consensus.faults.faults import FAULTS
from consensus.protocols.registry import DEFAULT
from consensus.torture.arena.attackers import known_behaviours
from consensus.torture.campaign import Tally
from consensus.torture.model.engine import Verdict
from consensus.torture.mutants.by_protocol import breaks_of

#: What is counted by name.
COUNTS = ("faults", "behaviours", "clients", "branches")


def figures_of(tally: Tally, seconds: float) -> Node:
    """A tally as JSON-ready values; ``seconds``: of wall time."""
    return {
        "scenarios": tally.scenarios,
        "outside the premise": tally.outside,
        "played twice alike": tally.repeated,
        "violations": tally.violations.total(),
        "heights": tally.heights,
        "events": tally.events,
        "simulated seconds": round(tally.simulated),
        "wall seconds": round(seconds, 1),
        "scenarios per second and core": round(tally.scenarios / max(tally.cpu, 1e-9), 1),
        "most attempts at a height": tally.attempts,
        "largest share of the liveness bound": round(tally.waited, 4),
        "violated": dict(tally.violations.most_common()),
        "first": [
            {
                "seed": found.seed,
                "invariant": found.invariant,
                "what": found.what,
                "scenario": found.scenario.text(),
            }
            for found in tally.found
        ],
        **counts_of(tally),
    }


def counts_of(tally: Tally) -> dict[str, dict[str, int]]:
    """The counts of a tally for each kind of name, in order of the names."""
    names = {"faults": list(FAULTS), "behaviours": known_behaviours()}
    return {what: _complete(getattr(tally, what), names.get(what, ())) for what in COUNTS}


def _complete(counts: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    """The counts by name, with what never happened."""
    return {name: counts.get(name, 0) for name in sorted({*names, *counts})}


def record_campaign(parsed: argparse.Namespace, tally: Tally, seconds: float) -> Path:
    """Write a campaign's figures into a folder; returns the JSON file."""
    figures = figures_of(tally, seconds)
    plain = {name: value for name, value in figures.items() if isinstance(value, int | float)}
    tables = [_table(("what", "figure"), plain.items())]
    for what, counts in counts_of(tally).items():
        tables.append(_table((what, "times"), counts.items()))
    name = f"torture-{parsed.protocol}" + (f"-{parsed.servers}" if parsed.servers else "")
    name += "-half" if parsed.premise == "half" else ""
    name += f"-{parsed.delays}" if parsed.delays else ""
    name += "-hard-crashes" if parsed.hard_crashes else ""
    name += "-incentives" if parsed.incentives else ""
    name += "-mesh" if parsed.gossip == "mesh" else ""
    name += "-adaptive" if parsed.adaptive else ""
    name += f"-{parsed.rule}" if parsed.rule else ""
    name += f"-{parsed.behaviours.replace(',', '+')}" if parsed.behaviours else ""
    return _write(parsed.record, f"{name}-{parsed.seeds}", figures, tables)


def record_breaks(parsed: argparse.Namespace, found: Mapping[str, tuple[Tally, str]]) -> Path:
    """Write where each rule, switched off, was found out, and the command that shows it."""
    rows, lines = [], []
    for rule, (tally, command) in found.items():
        first = tally.found[0] if tally.found else None
        line = {
            "rule": rule,
            "what": breaks_of(parsed.protocol)[rule].what,
            "seed": None if first is None else first.seed,
            "invariant": None if first is None else first.invariant,
            "replay": command,
        }
        lines.append(line)
        rows.append([line["rule"], line["what"], line["seed"], line["invariant"]])
    heads = ("rule off", "what goes wrong", "found at seed", "invariant violated")
    name = "torture-breaks"
    name += f"-{parsed.protocol}" if parsed.protocol != DEFAULT else ""
    name += "-mesh" if parsed.gossip == "mesh" else ""
    name += "-adaptive" if parsed.adaptive else ""
    name += f"-{parsed.behaviours.replace(',', '+')}" if parsed.behaviours else ""
    return _write(parsed.record, name, {"rules": lines}, [_table(heads, rows)])


def record_models(
    folder: Path, name: str, found: Sequence[tuple[Mapping[str, str], Verdict, float]]
) -> Path:
    """Write what was explored of specifications, each described by some words, and the seconds;
    returns the JSON file."""
    lines = [
        {
            **words,
            "states": verdict.states,
            "steps": verdict.steps,
            "depth": verdict.depth,
            "complete": verdict.complete,
            "wrong": verdict.wrong,
            "trace": list(verdict.trace),
            "seconds": round(seconds, 1),
        }
        for words, verdict, seconds in found
    ]
    heads = [head for head in lines[0] if head != "trace"]
    rows = [[line[head] for head in heads] for line in lines]
    return _write(folder, name, {"models": lines}, [_table(heads, rows)])


def record_twins(folder: Path, rounds: int, scenarios: int, wrong: Mapping[str, str]) -> Path:
    """Write how many scenarios with twins were played, and what is wrong with which; returns the
    JSON file."""
    figures: Node = {"rounds": rounds, "scenarios": scenarios, "wrong": dict(wrong)}
    rows = [("scenarios", scenarios), ("violations", len(wrong))]
    return _write(folder, f"twins-{rounds}", figures, [_table(("what", "figure"), rows)])


def _write(folder: Path, name: str, figures: Node, tables: Sequence[str]) -> Path:
    # Half of what the command takes to start, and most campaigns are not recorded.
    from bfedrec.files import write_text
    from bfedrec.runs.folder import write_json
    from bfedrec.runs.manifest import ROOT, git_state, machine, now, versions

    folder.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["bfedrec", *sys.argv[1:]])
    git = git_state(ROOT)
    head = {
        "command": command,
        "finished": now(),
        "git": git,
        "versions": versions(),
        "machine": machine(),
    }
    path = folder / f"{name}.json"
    write_json(path, head | figures)
    commit = "an unknown commit" if git is None else f"commit {git['commit'][:12]}"
    text = "\n".join([f"# {name}\n", f"`{command}`, at {commit}\n", *tables])
    write_text(path.with_suffix(".md"), text)
    return path


def _table(heads: Sequence[str], rows: Any) -> str:
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    for row in rows:
        cells = [f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
