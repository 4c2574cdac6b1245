"""Notes below a table on what the tuning of its methods has cost, from the recorded studies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bfedrec.sweeps.study import TUNING, Budget, budgets


def budget_notes(configs: Iterable[Path], folder: Path = TUNING) -> list[str]:
    """A note for each study recorded in `folder` of one of `configs`, in their order, and one that
    counts the configs without any.

    Configs are known by their paths from the working folder, as in "experiments/ml-1m.yaml".
    Raises `RunError` for a record that cannot be read.
    """
    names = list(dict.fromkeys(path.as_posix() for path in configs))
    found = budgets(folder)
    notes = [note(budget) for name in names for budget in found if budget.config == name]
    bare = [name for name in names if all(budget.config != name for budget in found)]
    if bare:
        notes.append(
            f"Tuning is on record for {len(names) - len(bare)} of {len(names)} configs; of others "
            "experiments/README.md tells which settings were tried by hand."
        )
    return notes


def note(budget: Budget) -> str:
    """A study's budget in a sentence."""
    space = ", ".join(f"{key} {text}" for key, text in budget.space.items())
    fixed = f", all with {' '.join(budget.fixed)}" if budget.fixed else ""
    failed = f" ({budget.failed} failed)" if budget.failed else ""
    drawn = "" if budget.sampler.startswith("all") else f" with seed {budget.seed}"
    seeds = "one seed" if budget.seeds == 1 else f"{budget.seeds} seeds"
    return (
        f"Tuning of {Path(budget.config).name}: {budget.trials} trials{failed} by {budget.sampler}"
        f"{drawn}, scored by {budget.objective} over {seeds}; {space}{fixed}; "
        f"{budget.seconds:,.0f} s."
    )
