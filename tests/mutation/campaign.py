"""Mutation campaign for the ledger and `bft`: `python -m tests.mutation.campaign`.

Draws a sample of mutants, judges each, and writes ``results/mutants/score.json`` and ``.md`` after
every one, so that an interrupted campaign goes on where it was. What is judged is judged again only
if its file has changed, or with ``--again``. `survivors.toml` says why a survivor survives; those
that are the same program, or harmless, do not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import tomllib
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.mutation.generating import Mutant, sample
from tests.mutation.task import ROOT, files_for, judged

RECORD = ROOT / "results" / "mutants"
REASONS = Path(__file__).parent / "survivors.toml"
FILES = (
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "consensus/ledger").glob("*.py")),
    *sorted(
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "consensus/protocols/bft").glob("*.py")
    ),
    "consensus/server/block_contents.py",
    "consensus/server/catching_up.py",
    "consensus/server/checks.py",
    "consensus/server/edge_server.py",
)
#: Torture before the tests and after them, as (plan, first seed, end).
FIRST = [("third", 0, 24), ("half", 0, 16), ("hard", 0, 8)]
REST = [("third", 24, 300), ("half", 16, 200), ("hard", 8, 100)]
#: Number of scenarios that a mutant which nothing finds is played in.
SCENARIOS = sum(end - begin for _, begin, end in (*FIRST, *REST))
#: Verdicts of survivors that do not count.
EXCUSED = ("equivalent", "harmless")
#: Columns of the record that say which mutant it is.
PLACE = "mutant | place | operator | change"


def judge(path: str, text: str, tests: list[str] | None = None) -> dict[str, Any]:
    """The verdict on a changed file, from a process of its own, with the processor time it took."""
    task = {"path": path, "text": text, "first": FIRST, "rest": REST}
    task["tests"] = files_for(path) if tests is None else tests
    return judged(task)


def reasons() -> dict[str, dict[str, str]]:
    """By a survivor's name: its verdict and why."""
    if not REASONS.exists():
        return {}
    listed = tomllib.loads(REASONS.read_text(encoding="utf-8")).get("survivor", [])
    return {entry["name"]: entry for entry in listed}


def counted(entries: list[dict[str, Any]], why: dict[str, dict[str, str]]) -> tuple[int, int]:
    """Number of mutants that were found, and of those that matter. What does not even import is
    not counted: nobody could overlook it."""
    found = sum(entry["killed"] not in ("", "import") for entry in entries)
    missed = sum(
        not entry["killed"] and why.get(entry["name"], {}).get("verdict") not in EXCUSED
        for entry in entries
    )
    return found, found + missed


def told(record: dict[str, Any], why: dict[str, dict[str, str]]) -> str:
    """The record in Markdown."""
    entries = record["mutants"]
    found, matter = counted(entries, why)
    kinds = Counter(entry["killed"] or "survived" for entry in entries)
    share = f"{100 * found / matter:.1f} %" if matter else "none"
    lines = [
        "# Mutants of the ledger and `bft`",
        "",
        f"Found: {found} of {matter} that matter ({share}); judged: {len(entries)} of a sample of "
        f"{record['count']}, seed `{record['seed']}`, up to {SCENARIOS} scenarios "
        "of torture and the tests each. "
        + ", ".join(f"{name}: {count}" for name, count in sorted(kinds.items()))
        + ". Those that do not import, are the same program or harmless are not counted.",
    ]
    lines += ["", "## Survivors", "", f"| {PLACE} | verdict | why |", "|---" * 6 + "|"]
    for entry in entries:
        if not entry["killed"]:
            reason = why.get(entry["name"], {"verdict": "not examined", "why": ""})
            lines.append(_row(entry, reason["verdict"], reason["why"]))
    lines += ["", "## Found", "", f"| {PLACE} | by | what |", "|---" * 6 + "|"]
    lines += [_row(entry, entry["killed"], entry["by"]) for entry in entries if entry["killed"]]
    return "\n".join(lines) + "\n"


def _row(entry: dict[str, Any], *ends: str) -> str:
    place = f"{entry['path'].removeprefix('consensus/')}:{entry['line']}"
    change = f"`{entry['before']}` → `{entry['after']}`"
    cells = (entry["name"], place, entry["operator"], change, *ends)
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def write(record: dict[str, Any]) -> None:
    """Write both files of the record."""
    RECORD.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (RECORD / "score.json").write_text(text, encoding="utf-8")
    (RECORD / "score.md").write_text(told(record, reasons()), encoding="utf-8")


def check_unchanged() -> None:
    """Judge the code without a change, which must survive. Raises SystemExit."""
    tests = sorted({test for path in FILES for test in files_for(path)})
    path = FILES[0]
    verdict = judge(path, (ROOT / path).read_text(encoding="utf-8"), tests)
    if verdict["killed"]:
        raise SystemExit(f"the code without a change fails: {verdict['by']}")


def _digest(mutant: Mutant) -> str:
    return hashlib.sha256(mutant.text.encode()).hexdigest()[:16]


def play(count: int, seed: str, again: list[str], limit: float) -> dict[str, Any]:
    """Judge what is not judged yet, and return the record."""
    file = RECORD / "score.json"
    record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    if record is None or record["seed"] != seed:
        check_unchanged()
        record = {"seed": seed, "count": count, "torture": [*FIRST, *REST], "mutants": []}
    record["count"] = count
    known = {(entry["name"], entry["digest"]): entry for entry in record["mutants"]}
    drawn = {(mutant.name, _digest(mutant)): mutant for mutant in sample(ROOT, FILES, count, seed)}
    begun = time.monotonic()
    # In an order that has nothing to do with the files: what is done so far is a sample, too.
    for done, key in enumerate(sorted(drawn), 1):
        mutant, old = drawn[key], known.get(key)
        wanted = key[0] in again or ("survivors" in again and old and not old["killed"])
        if old is None or wanted:
            if time.monotonic() - begun > limit:
                break
            told_of = {"name": key[0], **asdict(mutant), "digest": key[1]}
            del told_of["text"]
            known[key] = said = {**told_of, **judge(mutant.path, mutant.text)}
            print(
                f"{done}/{len(drawn)} {key[0]} {mutant.path}:{mutant.line} "
                f"{said['killed'] or 'SURVIVED'} {said['by']} ({said['cpu']} s)",
                flush=True,
            )
        judged_of = [known[key] | {"line": drawn[key].line} for key in drawn if key in known]
        write(record | {"mutants": judged_of})
    return record | {"mutants": [known[key] for key in drawn if key in known]}


def main() -> None:
    """Run the campaign; status 1 if less than nine in ten that matter were found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=90, help="mutants of the sample")
    parser.add_argument("--seed", default="12", help="seed of the sample")
    parser.add_argument("--again", nargs="*", default=[], help="names, or: survivors")
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds; then stop")
    asked = parser.parse_args()
    record = play(asked.count, asked.seed, asked.again, asked.limit)
    found, matter = counted(record["mutants"], reasons())
    print(f"found {found} of {matter} that matter")
    sys.exit(10 * found < 9 * matter)


if __name__ == "__main__":
    main()
