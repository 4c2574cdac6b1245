"""The stores of content that merchants use, by how they are written on a command line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from consensus.storage.ipfs import IpfsStore
from consensus.storage.shared import SharedStore

Store: TypeAlias = IpfsStore | SharedStore
KINDS = "file:PATH, or ipfs:MULTIADDR as ipfs:/ip4/127.0.0.1/tcp/5001"


def open_store(spec: str) -> Store:
    """The store ``file:PATH`` or ``ipfs:MULTIADDR``. Raises ValueError for another text and
    StoreError for a store that cannot be used."""
    kind, _, place = spec.partition(":")
    if kind == "file" and place:
        return SharedStore(Path(place))
    if kind == "ipfs" and place:
        return IpfsStore(place)
    raise ValueError(f"store {spec!r:.80}: expected {KINDS}")
