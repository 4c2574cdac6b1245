"""`bfedrec torture --twins`: play every small scenario in which one server runs twice.

Exit status: 0 no violation; 1 a violation; 2 bad usage.
"""

from __future__ import annotations

import argparse
import sys

from bfedrec.cli.status import CHECK_FAILED
from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.report.torture import record_twins
from consensus.torture.campaign import Plan
from consensus.torture.mutants.breaks import BREAKS
from consensus.torture.twins.play import TwinsWorld
from consensus.torture.twins.scenarios import every

#: Scenarios between two lines of progress.
EVERY = 2_000


def play_twins(parsed: argparse.Namespace) -> int:
    """Play all scenarios, with a rule switched off or not; return the exit status."""
    rounds, rule = parsed.twins, parsed.rule
    if not 1 <= rounds <= 3:
        raise ConfigError(f"{COMMAND_LINE}: --twins {rounds}: expected int from 1 to 3")
    if rule not in (None, *BREAKS):
        known = ", ".join(BREAKS)
        raise ConfigError(f"{COMMAND_LINE}: --break {rule}: expected one of {known}")
    played, wrong = 0, {}
    with Plan(rule=rule).applied():
        for scenario in every(rounds):
            what = TwinsWorld(scenario).play()
            played += 1
            if what:
                told = f"leaders {scenario.leaders}, groups {scenario.groups}"
                wrong[told] = what
                print(f"{told}: {what}", flush=True)
            if played % EVERY == 0:
                print(f"{played:,} scenarios", file=sys.stderr, flush=True)
    print(f"{played:,} scenarios of {rounds} rounds, {len(wrong):,} violations")
    if parsed.record is not None:
        print(f"recorded in {record_twins(parsed.record, rounds, played, wrong)}")
    return CHECK_FAILED if wrong else 0
