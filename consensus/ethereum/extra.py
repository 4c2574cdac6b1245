"""The check that the libraries of the extra `merchants` are installed, where they are imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from consensus.ethereum.errors import EthereumError

__all__ = ["needed"]


@contextmanager
def needed() -> Iterator[None]:
    """Raise EthereumError in one line where an import within fails."""
    try:
        yield
    except ImportError as error:
        raise EthereumError(
            f"an Ethereum chain needs more libraries ({error}): pip install 'bfedrec[merchants]'"
        ) from None
