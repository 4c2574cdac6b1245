"""A million clients beside ten thousand, at the same cohort and items, each in its own process.

    python -m tests.bench.million --write        # experiments/scale/million.yaml, some minutes each

Prints, as a table in Markdown, the median round in seconds and in processor seconds, the peak of
memory of the whole process (data that are not prepared yet are prepared in it) and that of the
rounds. Then rounds of both worlds are played in turns in one process, and the median of their
ratios is told, which other work on the machine moves little. ``--pairs-only`` leaves the whole runs
out. Words after the options change the config.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from pathlib import Path
from statistics import median

from bfedrec.config.load import load
from bfedrec.data.prepare import prepare
from bfedrec.federation.federation import Federation
from bfedrec.runs.figures import number
from bfedrec.runs.folder import read_summary
from tests.bench.command import ROOT, played
from tests.bench.document import put
from tests.bench.training import processors

CONFIG = ROOT / "experiments" / "scale" / "million.yaml"
FEW = (
    "data.generated.clients=10000",
    "data.generated.interactions=1000000",
    "rounds=20",  # enough for a median
    "evaluation.every=20",
)
WORLDS = {"10^4 clients, 10^6 interactions": FEW, "10^6 clients, 10^8 interactions": ()}
COLUMNS = {
    "round_seconds": "s a round",
    "round_processor_seconds": "processor s a round",
    "round_memory_mib": "MiB in rounds",
    "whole": "MiB in all",
    "minutes": "minutes in all",
}


def measured(words: tuple[str, ...]) -> dict[str, float]:
    """The figures of a world, by the keys of `COLUMNS`. Ends the program where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        ended = played(["run", CONFIG, *words, "--out", run])
        if ended.status:
            raise SystemExit(ended.said[-2000:])
        summary = read_summary(run)
    found = {key: number(summary, key) for key in COLUMNS if key in summary}
    return {**found, "whole": ended.megabytes, "minutes": ended.wall / 60}


def pairs(number: int, overrides: list[str]) -> str:
    """The medians of the ratios of the last world to the first, over so many pairs of rounds that
    were played one after the other, in a sentence."""
    few, many = (
        Federation(config, prepare(config.data))
        for config in (load(CONFIG, [*words, *overrides]) for words in WORLDS.values())
    )
    gc.collect()
    ratios = []
    for _ in range(number + 1):
        spent = []
        for world in (few, many):
            began = time.perf_counter(), time.process_time()
            world.play_round()
            spent.append((time.perf_counter() - began[0], time.process_time() - began[1]))
        ratios.append([second / first for first, second in zip(*spent, strict=True)])
    few.close()
    many.close()
    wall, processor = (median(each) for each in zip(*ratios[1:], strict=True))  # first: warming up
    return (
        f"In turns in one process, {number} pairs of rounds: a round of the larger world takes "
        f"{processor:.2f} times the processor seconds and {wall:.2f} times the seconds of one of "
        "the smaller."
    )


def table(found: dict[str, dict[str, float]]) -> str:
    """The figures of all worlds in Markdown."""
    lines = [
        "| world | " + " | ".join(COLUMNS.values()) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
    ]
    for name, figures in found.items():
        cells = [f"{figures[key]:,.{0 if key in MEBIBYTES else 2}f}" for key in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


MEBIBYTES = ("round_memory_mib", "whole")


def main() -> None:
    """Measure, and print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--write", action="store_true", help="also write it to docs/scaling.md")
    options.add_argument("--pairs", type=int, default=10, help="pairs of rounds (default: 10)")
    options.add_argument("--pairs-only", action="store_true", help="without the whole runs")
    options.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    told = options.parse_args()
    text = ""
    if not told.pairs_only:
        machine = processors()
        found = {name: measured((*words, *told.overrides)) for name, words in WORLDS.items()}
        text = f"{machine}:\n\n{table(found)}\n\n"
    text += pairs(told.pairs, told.overrides)
    print(text)
    if told.write:
        put("million", text)


if __name__ == "__main__":
    main()
