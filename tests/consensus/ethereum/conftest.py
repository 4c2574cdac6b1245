"""Chains to test with: the embedded one always, Anvil where npm can install it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consensus.ethereum.embedded import Server
from consensus.ethereum.node import Node
from tests.helpers.anvil_node import AnvilNode
from tests.helpers.ethereum import COUNT, PHRASE, serving
from tests.helpers.npm import Unavailable


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """An embedded chain of this process, behind HTTP."""
    with serving() as found:
        yield found


@pytest.fixture(scope="session")
def embedded(server: Server) -> Node:
    """A connection to the embedded chain."""
    return Node(server.url)


@pytest.fixture(scope="session")
def anvil() -> Iterator[Node]:
    """A connection to an Anvil node of the tests' own."""
    try:
        node = AnvilNode(PHRASE, COUNT)
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        yield Node(node.url)
    finally:
        node.stop()


@pytest.fixture(scope="session", params=["embedded", "anvil"])
def node(request: pytest.FixtureRequest) -> Node:
    """A connection to each kind of chain in turn."""
    found: Node = request.getfixturevalue(request.param)
    return found
