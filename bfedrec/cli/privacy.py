"""`bfedrec privacy RUN`: inference attacks on a run, and how much they find."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.cli.status import CHECK_FAILED

if TYPE_CHECKING:
    from bfedrec.runs.privacy import Attacked

MOST_ROUNDS = 2**31
HEADINGS = {
    "auc": "AUC",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "tpr_at_1_percent_fpr": "TPR@1%FPR",
    "auc_touched": "AUC touched",
    "auc_matched": "AUC matched",
}
"""The columns of the table by the figures' names."""
WIDTH = max(map(len, HEADINGS.values()))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec privacy`."""
    from bfedrec.privacy.registry import INFERENCES
    from bfedrec.runs.holders import FORMS

    told = "; ".join(f"{name}: {kind.meaning}" for name, kind in INFERENCES.items())
    parser.description = (
        "Attack a run, finished or going on, from what an honest-but-curious party holds, and "
        "compare what is found with the data set. Writes RUN/privacy.json, RUN/privacy-users.csv "
        "and RUN/privacy.png (the area under the curve over the rounds). docs/privacy.md says what "
        f"each figure means. The attacks: {told}."
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of `run` or `learn`")
    parser.add_argument(
        "--as",
        dest="holder",
        metavar="HOLDER",
        default="server:0",
        help=f"who attacks: {FORMS} (default: server:0)",
    )
    parser.add_argument(
        "--attacks", metavar="NAME,NAME", default="", help="only these (default: all)"
    )
    parser.add_argument(
        "--rounds",
        metavar="ROUNDS",
        type=_rounds,
        help="only what is seen in these rounds, as 1-300 or 1,10,100",
    )
    parser.add_argument(
        "--fail-above",
        metavar="AUC",
        type=float,
        help="exit with status 1 if an attack's area under the curve is above this",
    )
    parser.set_defaults(handler=privacy_command)


def _rounds(text: str) -> tuple[range, ...]:
    try:
        found = []
        for part in text.split(","):
            first, _, last = part.partition("-")
            span = range(int(first), int(last or first) + 1)
            if not span or span[0] < 1 or span[-1] >= MOST_ROUNDS:
                raise ValueError
            found.append(span)
        return tuple(found)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text[:80]!r}: expected rounds from 1 on, as 1-300 or 1,10,100"
        ) from None


def privacy_command(parsed: argparse.Namespace) -> int:
    """Attack, print the table and write the files; return 0, or `CHECK_FAILED` above
    ``--fail-above``. Raises as `bfedrec.runs.privacy.attack`, and ConfigError for an unknown
    attack."""
    from bfedrec.cli.bar import counted
    from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
    from bfedrec.privacy.registry import INFERENCES
    from bfedrec.report.privacy_rounds import write_rounds
    from bfedrec.runs.privacy import attack, write_results

    names = [name for name in parsed.attacks.split(",") if name]
    try:
        for name in names:
            INFERENCES.named(name)
    except ValueError as error:
        raise ConfigError(f"{COMMAND_LINE}: --attacks: {error}") from None
    if parsed.fail_above is not None and not 0.0 <= parsed.fail_above <= 1.0:
        raise ConfigError(f"{COMMAND_LINE}: --fail-above {parsed.fail_above}: expected 0 to 1")
    with counted("rounds") as tell:
        found = attack(parsed.run, parsed.holder, names, parsed.rounds, tell)
    for line in found.notes:
        print(line)
    _print_table(found)
    write_results(parsed.run, found)
    write_rounds(parsed.run, {name: each.rounds for name, each in found.memberships.items()})
    print(f"{parsed.run}: privacy.json, privacy-users.csv, privacy.png")
    return _status(found, parsed.fail_above)


def _print_table(found: Attacked) -> None:
    """Print a row for each attack, those on attributes below."""
    headings = "  ".join(f"{heading:>{WIDTH}}" for heading in HEADINGS.values())
    print(f"{'attack':<24} {'users':>6} {'updates':>8}  {headings}")
    for name, figures in found.figures().items():
        if "updates" not in figures:
            continue
        cells = "  ".join(
            f"{figures[key]:>{WIDTH}.4f}" if key in figures else " " * WIDTH for key in HEADINGS
        )
        print(f"{name:<24} {figures['users']:>6} {figures['updates']:>8}  {cells}")
    for name, told in found.attributes.items():
        print(
            f"{name:<24} {told['users']:>6.0f}  AUC {told['auc']:.4f}, right "
            f"{told['accuracy']:.4f} (the most frequent value: {told['majority']:.4f})"
        )


def _status(found: Attacked, most: float | None) -> int:
    """`CHECK_FAILED`, with a line, if an attack is above ``most``; mere guesses do not count."""
    from bfedrec.privacy.registry import INFERENCES

    if most is None:
        return 0
    above = {
        name: float(figures["auc"])
        for name, figures in found.figures().items()
        if not (name in INFERENCES and INFERENCES[name].guess) and float(figures["auc"]) > most
    }
    if above:
        told = ", ".join(f"{name} {value:.4f}" for name, value in above.items())
        print(f"above {most}: {told}", file=sys.stderr)
        return CHECK_FAILED
    return 0
