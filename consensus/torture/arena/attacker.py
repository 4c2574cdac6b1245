"""The registry of behaviours of torture's scenarios alone.

Each offers honest servers what one rule of the protocol refuses. They are drawn like the behaviours
that configs know (`consensus.adversary.groups`), and have no effect unless that rule is switched
off (`consensus.torture.mutants.breaks`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

from consensus.adversary.behaviour import Behaviour, behaviour
from consensus.records.block import Candidate
from consensus.registry import Registry
from consensus.server.edge_server import EdgeServer

ATTACKERS: Final[Registry[type[Behaviour]]] = Registry("attacker")
"""Every registered attacker by its name in a scenario."""


attacker = partial(behaviour, registry=ATTACKERS)
"""A decorator that registers an attacker, as `consensus.adversary.behaviour.behaviour` registers a
behaviour."""


def resigned(server: EdgeServer, candidate: Candidate, **changes: Any) -> Candidate:
    """A server's own candidate with ``changes`` to its header, signed anew."""
    header = replace(candidate.header, **changes)
    return replace(candidate, header=header, signature=server.signer.sign(header.signed))
