"""The breaks of each protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from consensus.protocols.hotstuff.protocol import HotStuff
from consensus.protocols.tendermint.protocol import Tendermint
from consensus.torture.mutants import breaks, hotstuff_breaks, tendermint_breaks
from consensus.torture.mutants.broken_rule import Break

_OTHERS: Final = {
    HotStuff.name: hotstuff_breaks.BREAKS,
    Tendermint.name: tendermint_breaks.BREAKS,
}


def breaks_of(protocol: str) -> Mapping[str, Break]:
    """The rules that can be switched off under a protocol, by name; those of `bft` for a protocol
    that has none of its own."""
    return _OTHERS.get(protocol, breaks.BREAKS)
