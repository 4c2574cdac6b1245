"""`bfedrec tune`: search options for the best validation score, and record what the search cost."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.cli.engines import add_engine
from bfedrec.cli.run import CONFIG_HELP
from bfedrec.cli.status import CHECK_FAILED, INTERRUPTED

if TYPE_CHECKING:
    from bfedrec.sweeps.study import Plan

BEST = 10
"""Number of trials that are listed at the end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec tune`."""
    from bfedrec.evaluation.metrics import tunable
    from bfedrec.sweeps.study import TUNING

    parser.description = (
        "Trains without servers and scores the validation items; no test item is looked at. Every "
        "trial is recorded at its end, and the same command continues an interrupted search."
    )
    parser.epilog = "The options of an experiment are those of `bfedrec run --help`."
    parser.add_argument("config", metavar="CONFIG", type=Path, help=CONFIG_HELP)
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        default=[],
        help="KEY=LOW..HIGH: a range to search, KEY=LOW..HIGH:log on a logarithmic scale; "
        "KEY=A,B,C: a choice; KEY=VALUE or @FILE: the same in every trial",
    )
    parser.add_argument(
        "--trials", type=int, help="trials, proposed by TPE (default: all combinations of choices)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the proposals (default: 0)")
    parser.add_argument(
        "--seeds", default="0", help="of a trial's trainings, as 0-2 or 0,3 (default: 0)"
    )
    add_engine(parser, "trials")
    parser.add_argument(
        "--threads",
        type=int,
        help="threads of a trial (default: all processors, shared; 1 on a cluster)",
    )
    parser.add_argument("--rounds", type=int, help="rounds of a trial (default: the config's)")
    parser.add_argument(
        "--metric", choices=list(tunable()), default="ndcg", help="what is best (default: ndcg)"
    )
    parser.add_argument("--out", type=Path, default=TUNING, help=f"folder (default: {TUNING})")
    parser.set_defaults(handler=tune_command)


def tune_command(parsed: argparse.Namespace) -> int:
    """Make a study, or what is left of it, and print its best trials; returns the exit status."""
    from bfedrec.data.prepare import prepare
    from bfedrec.sweeps.registry import engine_of
    from bfedrec.sweeps.study import Study
    from bfedrec.sweeps.trials import line, run
    from bfedrec.sweeps.tuning import check

    plan, count = _plan(parsed)
    engine = engine_of(parsed.engine, parsed.jobs)
    check(plan.config, plan.metric)
    data = prepare(plan.config.data).digest
    with Study.open(plan, parsed.out, data) as study:
        print(f"{count} trials for {plan.objective}, by {plan.sampler}: {study.path}", flush=True)
        try:
            with engine:
                run(study, count, engine, parsed.threads, lambda told: print(told, flush=True))
        except KeyboardInterrupt:
            print("interrupted; the same command continues the study", file=sys.stderr)
            return INTERRUPTED
        best = study.ranked()[:BEST]
        if best:
            print("best first:")
        for trial in best:
            print(f"  {line(trial)}")
        print(study.budget_path, flush=True)
    if not best:
        print("bfedrec: no trial has a score: every one failed", file=sys.stderr)
        return CHECK_FAILED
    return 0


def _plan(parsed: argparse.Namespace) -> tuple[Plan, int]:
    """The study that is asked for, and its number of trials. Raises `ConfigError`."""
    from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
    from bfedrec.sweeps.space import parse
    from bfedrec.sweeps.study import Plan
    from bfedrec.sweeps.sweep import parse_seeds

    for name in ("trials", "threads", "rounds"):
        value = getattr(parsed, name)
        if value is not None and value < 1:
            raise ConfigError(f"{COMMAND_LINE}: --{name} {value}: expected int >= 1")
    if not 0 <= parsed.seed < 2**63:
        raise ConfigError(f"{COMMAND_LINE}: --seed {parsed.seed}: expected int >= 0")
    words = [*parsed.overrides, *([f"rounds={parsed.rounds}"] if parsed.rounds else [])]
    space = parse(words)
    config, seeds = space.checked(parsed.config), tuple(parse_seeds(parsed.seeds))
    if parsed.trials is None:
        count = len(space.combinations())
        return Plan(
            parsed.config, config, space, parsed.metric, "all combinations", 0, seeds
        ), count
    if not space.axes:
        told = "--trials needs an option to search: KEY=LOW..HIGH or KEY=A,B"
        raise ConfigError(f"{COMMAND_LINE}: {told}")
    plan = Plan(parsed.config, config, space, parsed.metric, "TPE", parsed.seed, seeds)
    return plan, parsed.trials
