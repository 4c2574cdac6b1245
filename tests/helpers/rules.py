"""Chains and checks under the protocol that a genesis names."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.application import Application
from consensus.ledger.chain import Chain
from consensus.ledger.validity import Head
from consensus.protocols.registry import protocol_of
from consensus.records.block import Block
from consensus.records.genesis import Genesis
from consensus.server.checks import SharedChecks


def chain_from(genesis: Genesis, blocks: Sequence[Block] = (), heads: Sequence[Head] = ()) -> Chain:
    """A chain of this genesis, empty or continued."""
    return Chain(genesis, protocol_of(genesis), blocks, heads)


def checks_of(genesis: Genesis, application: Application) -> SharedChecks:
    """The checks that the servers of one process share."""
    return SharedChecks(genesis, protocol_of(genesis), application)
