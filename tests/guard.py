"""Proves that this tree gives the results of commit 951fab8, byte by byte.

    python -m tests.guard [check|record|move] [NAME...] [--jobs N]

`check` (the default) plays every part and compares it with `tests/vectors/guard-951fab8.json`: it
names what differs, and ends with status 1 where anything does, 2 for bad usage. `record` writes
that file, in a clone that stands at the commit itself. `move` writes `guard-moved.json` beside it,
which stands for what was meant to change since (`MOVED`), and refuses where anything else did. A
NAME is a part or the beginning of some: ``quickstart``, ``torture-bft``, ``table``. The parts:

- quickstart-bft, quickstart-paper, ml-1m: a run's config, summary and metrics (but for wall-clock
  times), every block of its chain, its ranks and model; ml-1m is today's ml-1m-per-item.yaml, under
  the name that it had then;
- lists, table-NAME, figure-NAME: which tables and figures there are, and every file written of one,
  from the recorded runs;
- torture-bft, torture-paper: of each seed the scenario, the trace and what it came to.

What needs real data (ml-1m, table-table1) is skipped where BFEDREC_DATA names no folder. Only the
command line and files are used; torture alone has no command that tells whole traces.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from bfedrec.runs.figures import MEASURED

ROOT = Path(__file__).resolve().parent.parent
BASE = "951fab8"
VECTORS = ROOT / "tests" / "vectors" / f"guard-{BASE}.json"
MOVED_VECTORS = VECTORS.with_name("guard-moved.json")
MOVED: dict[str, tuple[str, ...]] = {
    "quickstart-bft": ("head", "simulated_seconds", "gossip_bytes", "gossip_bytes_block"),
    "ml-1m": ("head", "simulated_seconds", "gossip_bytes", "gossip_bytes_block"),
    "quickstart-paper": (),
    "torture-bft": (),
    "torture-paper": (),
    "lists": (),
    "table-table2": (),
    "table-table3": (),
    "table-ablations": (),
    "figure-fig2": (),
    "figure-accuracy": (),
}
"""The parts of which something was meant to change, and what: these values and the blocks, or all
(none named). A genesis holds the config's digest and the policy of retention since its version 2,
and its link is the parent of block 1. Servers that have decided pass on the block with their own
certificate, which may have a signature more or less; so bytes differ by 1 in 10 million, and times
by as little. Nothing else of a run follows from them, except under `paper`, whose draws are seeded
with links of blocks. Torture's scenarios are the same; in their traces servers answer requests
within limits, and show locks and blocks to those that lack them. Tables and figures were added, and
weights by sample count became the rule of the row BFedRec: tables and figures show its runs, and
name those of the mean per item, whose figures stay; their intervals were over seeds or users alone,
and p-values counted among resamples."""
WALL = MEASURED
"""What a summary and a line of metrics hold of the wall clock."""
TABLES = ("table1", "table2", "table3", "ablations")
FIGURES = ("fig2", "fig3", "cost", "committees", "third", "recovery", "accuracy")
NEED_DATA = ("ml-1m", "table-table1")
SEEDS = {"bft": 300, "paper": 100}
CHUNK = 50
"""Seeds of torture that one process plays."""
DRAWING = ("consensus.torture.arena.drawing", "consensus.torture.drawing")
"""Where scenarios are drawn: in the rooms, and in the flat layout."""
SHOWN = 20
"""Lines of a difference that are shown."""

Result = dict[str, list[str]]
"""What a part came to: lines of text, under names."""


class Failed(Exception):
    """A command that did not end as it should."""


# -- commands --------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def bfedrec(*words: str | Path) -> str:
    """Run a command of this tree's `bfedrec`; returns its standard output. Raises `Failed`."""
    main = "bfedrec.cli" if (ROOT / "bfedrec" / "cli.py").exists() else "bfedrec.cli.main"
    code = (
        "import sys, bfedrec\n"
        f"if not bfedrec.__file__.startswith({f'{ROOT}{os.sep}'!r}): sys.exit(bfedrec.__file__)\n"
        f"from {main} import main\n"
        "sys.exit(main())"
    )
    return output([sys.executable, "-c", code, *map(str, words)])


def output(command: Sequence[str]) -> str:
    """The standard output of a command in this tree. Raises `Failed` where its status is not 0."""
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment(), check=False
    )
    if done.returncode:
        told = "\n".join((done.stdout + done.stderr).splitlines()[-SHOWN:])
        raise Failed(f"status {done.returncode}: {' '.join(command[3:])}\n{told}")
    return done.stdout


def git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *words], capture_output=True, text=True, cwd=ROOT, encoding="utf-8", check=False
    )


def digest(data: bytes, digits: int = 64) -> str:
    return hashlib.sha256(data).hexdigest()[:digits]


# -- runs ------------------------------------------------------------------------------------------


def of_run(*words: str) -> Result:
    """A run: what its folder holds, but for the wall clock."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "run"
        bfedrec("run", *words, "--out", place)
        summary = json.loads((place / "summary.json").read_text(encoding="utf-8"))
        metrics = (place / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        connection = sqlite3.connect(place / "chain.sqlite")
        blocks = connection.execute("SELECT height, data FROM blocks ORDER BY height").fetchall()
        connection.close()
        return {
            "config": (place / "config.yaml").read_text(encoding="utf-8").splitlines(),
            "summary": fields(summary),
            "metrics": ["; ".join(fields(json.loads(line))) for line in metrics],
            "blocks": [f"height {height}: {digest(data, 16)}" for height, data in blocks],
            "files": digests(place, ("model.safetensors", "ranks.npz")),
        }


def fields(values: dict[str, Any]) -> list[str]:
    """Keys and values in their order, but for those of the wall clock."""
    return [f"{key} = {json.dumps(value)}" for key, value in values.items() if key not in WALL]


def digests(folder: Path, names: Sequence[str]) -> list[str]:
    return [f"{name} {digest((folder / name).read_bytes())}" for name in names]


# -- tables and figures ----------------------------------------------------------------------------


def of_lists() -> Result:
    """The tables and figures that there are."""
    return {kind: bfedrec(kind).splitlines() for kind in ("table", "figure")}


def of_artefact(kind: str, name: str) -> Result:
    """A table or figure made of the recorded runs: the digests of its files, and under their names
    the lines of those that are text."""
    with tempfile.TemporaryDirectory() as folder:
        bfedrec(kind, name, "--out", folder)
        names = sorted(path.name for path in Path(folder).iterdir())
        texts = [each for each in names if not each.endswith((".png", ".pdf"))]
        return {"files": digests(Path(folder), names)} | {
            each: (Path(folder) / each).read_bytes().decode().splitlines() for each in texts
        }


def committed(kind: str, name: str) -> list[str]:
    """A file of text as the commit holds it; nothing where there is no such commit here."""
    done = git("show", f"{BASE}:results/{kind}s/{name}")
    return done.stdout.splitlines()


# -- torture ---------------------------------------------------------------------------------------


def of_torture(protocol: str) -> Result:
    """The scenarios of the first seeds, each as a line of digests."""
    lines: list[str] = []
    for low in range(0, SEEDS[protocol], CHUNK):
        seeds = map(str, (low, min(low + CHUNK, SEEDS[protocol])))
        lines += output(
            [sys.executable, "-m", "tests.guard", "digests", protocol, *seeds]
        ).splitlines()
    return {"seeds": lines}


def print_digests(protocol: str, low: str, high: str) -> None:
    """Play the scenarios of some seeds in this process, and print a line for each."""
    sys.path.insert(0, str(ROOT))
    for name in DRAWING:
        try:
            draw = import_module(name).draw
            break
        except ModuleNotFoundError as error:
            if name == DRAWING[-1] or not name.startswith(str(error.name)):
                raise
    run = import_module("consensus.torture.run").run
    for seed in range(int(low), int(high)):
        scenario = draw(seed, protocol)
        outcome = run(scenario, traced=True)
        drawn, what = (digest(text.encode(), 8) for text in (scenario.text(), came_to(outcome)))
        print(f"seed {seed}: trace {outcome.trace[:32]} scenario {drawn} outcome {what}")


def came_to(outcome: Any) -> str:
    """What a scenario came to, but for the line of code at which a server would have crashed."""
    counts = (outcome.faults, outcome.behaviours, outcome.clients, outcome.branches)
    facts = [outcome.invariant, re.sub(r" \(\S+\.py:[0-9]+\)$", "", outcome.what)]
    facts += [outcome.outside, outcome.heights, outcome.attempt, outcome.events]
    return repr([*facts, outcome.simulated, *(sorted((+each).items()) for each in counts)])


# -- the parts -------------------------------------------------------------------------------------


def parts() -> dict[str, Callable[[], Result]]:
    """All of them, by name, those that take longest first."""
    quickstart = "experiments/quickstart.yaml"
    return {
        "quickstart-bft": partial(of_run, quickstart, "protocol=bft"),
        "quickstart-paper": partial(of_run, quickstart, "protocol=paper"),
        "torture-bft": partial(of_torture, "bft"),
        "torture-paper": partial(of_torture, "paper"),
        "ml-1m": partial(of_run, "experiments/ml-1m-per-item.yaml", "name=ml-1m", "rounds=100"),
        "lists": of_lists,
        **{f"table-{name}": partial(of_artefact, "table", name) for name in TABLES},
        **{f"figure-{name}": partial(of_artefact, "figure", name) for name in FIGURES},
    }


def chosen(names: Sequence[str]) -> list[str]:
    """The parts that names mean, all where there is none. Raises `Failed` for an unknown one."""
    known = list(parts())
    for name in names:
        if not any(each.startswith(name) for each in known):
            raise Failed(f"no part {name!r}, only {', '.join(known)}")
    return [each for each in known if not names or each.startswith(tuple(names))]


def play(names: Sequence[str], jobs: int) -> Iterator[tuple[str, Result | Failed | None, float]]:
    """Play parts, several at a time: what each came to and seconds; None where it was skipped."""
    data = os.environ.get("BFEDREC_DATA")
    skipped = [name for name in names if name in NEED_DATA and not (data and Path(data).is_dir())]
    for name in skipped:
        yield name, None, 0.0
    todo = parts()
    with ThreadPoolExecutor(jobs) as pool:
        playing = {pool.submit(timed, todo[name]): name for name in names if name not in skipped}
        for future in as_completed(playing):
            yield (playing[future], *future.result())


def timed(part: Callable[[], Result]) -> tuple[Result | Failed, float]:
    began = time.monotonic()
    try:
        return part(), time.monotonic() - began
    except Failed as error:
        return error, time.monotonic() - began


# -- differences -----------------------------------------------------------------------------------


def of_base(name: str, saved: Result, result: Result) -> Result:
    """What is recorded of a part; of a table or figure that differs also the text of its files, as
    they were committed, so that lines can be compared and not only digests."""
    saved = with_moved(name, saved, moved().get(name, {}))
    kind, _, _ = name.partition("-")
    if kind not in ("table", "figure") or saved["files"] == result["files"]:
        return saved | {key: lines for key, lines in result.items() if "." in key}
    texts = {line.split()[0] for line in saved["files"]} & result.keys()
    return saved | {each: committed(kind, each) for each in sorted(texts)}


def moved() -> dict[str, Result]:
    """What was meant to change, by part."""
    if not MOVED_VECTORS.exists():
        return {}
    parts: dict[str, Result] = json.loads(MOVED_VECTORS.read_text(encoding="utf-8"))["parts"]
    return parts


def with_moved(name: str, saved: Result, now: Result) -> Result:
    """What is recorded of a part, with what was meant to change as it is now."""
    if not MOVED.get(name) or not now:
        return saved | now
    lists = {key: _replaced(saved[key], now[key], MOVED[name]) for key in ("summary", "metrics")}
    return saved | lists | {"blocks": now["blocks"]}


def _named(line: str, names: Sequence[str]) -> list[str]:
    """The values of a line that have one of these names, as ``name = value``."""
    return [value for value in line.split("; ") if value.partition(" = ")[0] in names]


def _replaced(saved: Sequence[str], now: Sequence[str], names: Sequence[str]) -> list[str]:
    """Lines of values, those with one of these names as they are now."""
    values = iter([value for line in now for value in _named(line, names)])
    return [
        "; ".join(
            next(values, value) if value.partition(" = ")[0] in names else value
            for value in line.split("; ")
        )
        for line in saved
    ]


def differences(before: Result, after: Result) -> list[str]:
    """What a part has that is not as it was, in lines for a person; none where all is the same."""
    told: list[str] = []
    for key in [*before, *(each for each in after if each not in before)]:
        old, new = before.get(key, []), after.get(key, [])
        if old == new:
            continue
        if key in ("blocks", "seeds"):
            told += first_of(key, old, new)
        else:
            told += unified(
                key, *((entries(old), entries(new)) if key == "metrics" else (old, new))
            )
    return told


def first_of(key: str, old: Sequence[str], new: Sequence[str]) -> list[str]:
    """The first of two lists' lines that differ, and how many do."""
    padded = [*old, *["nothing"] * (len(new) - len(old))]
    pairs = zip(padded, [*new, *["nothing"] * (len(old) - len(new))], strict=True)
    apart = [(was, now) for was, now in pairs if was != now]
    told = f"{key}: {len(apart)} of {len(padded)} differ, first"
    return [told, f"  - {apart[0][0]}", f"  + {apart[0][1]}"]


def entries(lines: Sequence[str]) -> list[str]:
    """A line of metrics as one line per value, after its first, the height."""
    rows = [line.split("; ") for line in lines]
    return [f"{row[0]}: {each}" for row in rows for each in row[1:]]


def unified(key: str, old: Sequence[str], new: Sequence[str]) -> list[str]:
    told = list(difflib.unified_diff(old, new, f"{key} at {BASE}", f"{key} here", lineterm="", n=1))
    return told if len(told) <= SHOWN else [*told[:SHOWN], f"and {len(told) - SHOWN} lines more"]


# -- check and record ------------------------------------------------------------------------------


def check(names: Sequence[str], jobs: int) -> int:
    """Compare parts with what is recorded; returns the exit status."""
    saved = json.loads(VECTORS.read_text(encoding="utf-8"))
    differ: list[str] = []
    skipped: list[str] = []
    for name, result, seconds in play(names, jobs):
        if result is None:
            skipped.append(name)
            print(f"{name:<18} skipped: BFEDREC_DATA names no folder", flush=True)
            continue
        if isinstance(result, Failed):
            told = str(result).splitlines()
        else:
            told = differences(of_base(name, saved["parts"][name], result), result)
        word = "DIFFERS" if told else "the same"
        print("\n    ".join([f"{name:<18} {word} ({seconds:.0f} s)", *told]), flush=True)
        differ += [name] if told else []
    if differ:
        for line in unified("versions", saved["versions"], bfedrec("version").splitlines()):
            print(line)
    print(f"the same as at {BASE}: {len(names) - len(differ) - len(skipped)} parts", end="")
    print(f"; skipped: {', '.join(skipped)}" if skipped else "", end="")
    print(f"; different: {', '.join(differ)}" if differ else "")
    return 1 if differ else 0


def record(names: Sequence[str], jobs: int) -> int:
    """Write what parts come to in a clone that stands at the commit. Raises `Failed` elsewhere."""
    head = git("rev-parse", "HEAD").stdout
    changed = git("status", "--porcelain", "--untracked-files=no").stdout
    if not head.startswith(BASE) or changed:
        raise Failed(f"only a clone that stands at {BASE}, unchanged, can be recorded")
    saved = json.loads(VECTORS.read_text(encoding="utf-8")) if VECTORS.exists() else {"parts": {}}
    for name, result, seconds in play(names, jobs):
        if result is None or isinstance(result, Failed):
            raise Failed(f"{name}: {result or 'BFEDREC_DATA names no folder'}")
        saved["parts"][name] = {key: lines for key, lines in result.items() if "." not in key}
        print(f"{name:<18} recorded ({seconds:.0f} s)", flush=True)
    entry = {
        "commit": head.strip(),
        "command": "python -m tests.guard record",
        "versions": bfedrec("version").splitlines(),
        "parts": {name: saved["parts"][name] for name in parts() if name in saved["parts"]},
    }
    VECTORS.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    return 0


def move(names: Sequence[str], jobs: int) -> int:
    """Write what was meant to change. Raises `Failed` where anything else did."""
    saved, parts = json.loads(VECTORS.read_text(encoding="utf-8"))["parts"], moved()
    for name, result, seconds in play([name for name in names if name in MOVED], jobs):
        if result is None or isinstance(result, Failed):
            raise Failed(f"{name}: {result or 'BFEDREC_DATA names no folder'}")
        told = differences(with_moved(name, saved[name], result), result)
        if told:
            raise Failed("\n".join([f"{name}: more than {MOVED[name]} has changed", *told]))
        parts[name] = {key: lines for key, lines in result.items() if "." not in key}
        if MOVED[name]:
            lists = {
                key: ["; ".join(_named(line, MOVED[name])) for line in result[key]]
                for key in ("summary", "metrics")
            }
            kept = {key: [line for line in lines if line] for key, lines in lists.items()}
            parts[name] = {**kept, "blocks": result["blocks"]}
        print(f"{name:<18} moved ({seconds:.0f} s)", flush=True)
    entry = {"command": "python -m tests.guard move", "parts": parts}
    MOVED_VECTORS.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="guard.py",
        description=f"Compare what this tree gives with what {BASE} gave, byte by byte.",
    )
    parser.add_argument(
        "words", metavar="check|record|move|NAME", nargs="*", help=", ".join(parts())
    )
    parser.add_argument("--jobs", type=int, default=2, help="parts at a time (default: 2)")
    parsed = parser.parse_args()
    first, *rest = parsed.words or ["check"]
    try:
        if first == "digests":
            print_digests(*rest)
            return 0
        known = {"check": check, "record": record, "move": move}
        names = chosen(rest if first in known else parsed.words)
        return known.get(first, check)(names, parsed.jobs)
    except Failed as error:
        print(f"guard.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
