"""A rule of the protocol that is switched off, and the scenarios that put it to the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from consensus.ledger import protocol
from consensus.torture.arena.drawing import Bias
from consensus.torture.mutants.patch import Patch, StandIn
from consensus.torture.mutants.stand_ins import certificate_without

ORDINARY: Final = Bias()
CRASHES = ("crash", "churn")
CUTS = ("partition", "loss", "partition")


@dataclass(frozen=True)
class Break:
    """A rule switched off."""

    name: str
    what: str
    """The error of servers without the rule, in a line."""
    patches: tuple[Patch, ...]
    bias: Bias = ORDINARY

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Switch the rule off until the context is left."""
        with ExitStack() as stack:
            for patch in self.patches:
                stack.enter_context(patch.applied())
            yield


def imported(module: ModuleType, name: str, stand_in: StandIn) -> Patch:
    """The patch of a function in a module that imports it."""
    return Patch(module, name, stand_in, imported=True)


def of_certificates(rules: ModuleType, what: str) -> tuple[Patch, ...]:
    """Patches that leave out of `check_certificate`, for blocks and where ``rules`` call it, the
    check of ``what``: ``signatures``, ``seats`` or ``distinct`` signers."""
    return tuple(
        imported(module, "check_certificate", certificate_without(what))
        for module in (protocol, rules)
    )
