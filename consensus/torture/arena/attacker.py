"""The registry of behaviours of torture's scenarios alone.

Each offers honest servers what one rule of the protocol refuses. They are drawn like the behaviours
that configs know (`consensus.adversary.groups`), and have no effect unless that rule is switched
off (`consensus.torture.mutants.breaks`).
"""

from __future__ import annotations

from functools import partial
from typing import Final

from consensus.adversary.behaviour import Behaviour, behaviour
from consensus.registry import Registry

ATTACKERS: Final[Registry[type[Behaviour]]] = Registry("attacker")
"""Every registered attacker by its name in a scenario."""


attacker = partial(behaviour, registry=ATTACKERS)
"""A decorator that registers an attacker, as `consensus.adversary.behaviour.behaviour` registers a
behaviour."""
