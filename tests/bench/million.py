"""A million clients beside ten thousand, at the same cohort and items, each in its own process.

    python -m tests.bench.million --write        # experiments/scale/million.yaml, some minutes each

Prints, as a table in Markdown, the median round in seconds and in processor seconds, the peak of
memory of the whole process (data that are not prepared yet are prepared in it) and that of the
rounds, and the ratios of both worlds. Words after the options change the config.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

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


def table(found: dict[str, dict[str, float]]) -> str:
    """The figures of all worlds, and the last to the first, in Markdown."""
    lines = [
        "| world | " + " | ".join(COLUMNS.values()) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
    ]
    for name, figures in found.items():
        cells = [f"{figures[key]:,.{0 if key in MEBIBYTES else 2}f}" for key in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    first, *_, last = found.values()
    cells = [f"{last[key] / first[key]:.2f}" for key in COLUMNS]
    return "\n".join([*lines, "| ratio | " + " | ".join(cells) + " |"])


MEBIBYTES = ("round_memory_mib", "whole")


def main() -> None:
    """Measure, and print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--write", action="store_true", help="also write it to docs/scaling.md")
    options.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    told = options.parse_args()
    machine = processors()
    found = {name: measured((*words, *told.overrides)) for name, words in WORLDS.items()}
    text = f"{machine}:\n\n{table(found)}"
    print(text)
    if told.write:
        put("million", text)


if __name__ == "__main__":
    main()
