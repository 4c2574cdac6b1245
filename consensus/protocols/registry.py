"""The protocols by which edge servers agree, by their names.

Another protocol is another package here whose module ``protocol`` registers it
(`consensus.ledger.protocol.protocol`), or any module that is imported before a genesis or a config
names it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Final

import consensus.protocols
from consensus.ledger.protocol import PROTOCOLS, Protocol
from consensus.records.genesis import Genesis

__all__ = ["DEFAULT", "PROTOCOLS", "protocol_named", "protocol_of"]

#: The protocol of a config and of torture's scenarios that name none.
DEFAULT: Final = "bft"

for _found in sorted(iter_modules(consensus.protocols.__path__)):
    if _found.ispkg:
        import_module(f"consensus.protocols.{_found.name}.protocol")


def protocol_named(name: str) -> Protocol:
    """The protocol of that name. Raises ValueError for an unknown one, which lists those there
    are and the nearest."""
    return PROTOCOLS.named(name)


def protocol_of(genesis: Genesis) -> Protocol:
    """The protocol that a chain follows. Raises ValueError for an unknown one."""
    return protocol_named(genesis.parameters.protocol)
