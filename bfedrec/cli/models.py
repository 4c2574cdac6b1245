"""`bfedrec torture --model`: explore every state of specifications of `bft`, up to their bounds.

Exit status: 0 the property holds; 1 it does not, and a shortest way to the wrong state is printed
(with ``--break all``: a model that does not fail without its rule); 2 bad usage.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any

from bfedrec.cli.status import CHECK_FAILED
from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
from bfedrec.report.torture import record_models
from consensus.torture.model.engine import Spec, Verdict, explore
from consensus.torture.model.models import BREAKS, MODELS

Found = list[tuple[Mapping[str, str], Verdict, float]]


def check_models(parsed: argparse.Namespace) -> int:
    """Explore the requested models, with a rule taken out or not; return the exit status."""
    name, rule = parsed.model, parsed.rule
    if name not in ("list", "all", *MODELS):
        known = ", ".join(MODELS)
        raise ConfigError(f"{COMMAND_LINE}: --model {name}: expected list, all, {known}")
    breaks = [each for each in BREAKS.values() if name in ("list", "all", each.model)]
    if rule not in (None, "list", "all", *(each.name for each in breaks)):
        known = ", ".join(each.name for each in breaks)
        raise ConfigError(f"{COMMAND_LINE}: --break {rule}: expected list, all, {known}")
    if rule == "list":
        for each in breaks:
            print(f"{each.name:<30} {each.model:<20} {each.what}")
    elif name == "list":
        for model in MODELS.values():
            minutes = "" if model.quick else " (minutes)"
            print(f"{model.name:<20} {model.claims:<8} {model.bound}{minutes}")
    elif rule is None:
        return _check(parsed, [model for model in MODELS.values() if name in ("all", model.name)])
    else:
        return _break(parsed, [each for each in breaks if rule in ("all", each.name)])
    return 0


def _explored(
    words: Mapping[str, str], spec: Spec[Any], found: Found, most: int | None = None
) -> Verdict:
    """Explore one specification, print the result, and add it to the others."""
    print(f"exploring {words['model']} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    verdict = explore(spec, most)
    seconds = time.monotonic() - began
    found.append((words, verdict, seconds))
    print(
        f"{words.get('rule', words['model'])}: {verdict.states:,} states, {verdict.steps:,} steps, "
        f"depth {verdict.depth}, {seconds:.1f} s: {verdict.wrong or 'the claim holds'}",
        flush=True,
    )
    return verdict


def _check(parsed: argparse.Namespace, models: list[Any]) -> int:
    found: Found = []
    for model in models:
        words = {"model": model.name, "claims": model.claims, "bound": model.bound}
        _tell(_explored(words, model.spec, found, model.most))
    if parsed.record is not None:
        print(f"recorded in {record_models(parsed.record, f'models-{parsed.model}', found)}")
    return CHECK_FAILED if any(verdict.wrong for _, verdict, _ in found) else 0


def _break(parsed: argparse.Namespace, breaks: list[Any]) -> int:
    found: Found = []
    for each in breaks:
        words = {"rule": each.name, "what": each.what, "model": each.model}
        verdict = _explored(words, each.spec, found)
        if parsed.rule != "all":
            _tell(verdict)
    wrong = sum(bool(verdict.wrong) for _, verdict, _ in found)
    if parsed.record is not None:
        name = f"model-breaks-{parsed.model}-{parsed.rule}"
        print(f"recorded in {record_models(parsed.record, name, found)}")
    if parsed.rule == "all":
        print(f"{wrong} of {len(found)} rules, taken out, were found out")
        return CHECK_FAILED if wrong < len(found) else 0
    return CHECK_FAILED if wrong else 0


def _tell(verdict: Verdict) -> None:
    """Print the way to a wrong state."""
    for number, step in enumerate(verdict.trace, 1):
        print(f"  {number:>3}. {step}")
