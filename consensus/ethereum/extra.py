"""The check that the libraries of the extra `merchants` are installed, where they are imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from consensus.ethereum.errors import EthereumError

__all__ = ["needed"]


@contextmanager
def needed() -> Iterator[None]:
    """Raise EthereumError in one line where an import within fails.

    Some of these libraries raise the whole process's limit of recursion to 100,000 when they are
    imported: a text of JSON that is nested deeply enough would then end the process instead of
    being an error. The limit is left as it was.
    """
    limit = sys.getrecursionlimit()
    try:
        yield
    except ImportError as error:
        raise EthereumError(
            f"an Ethereum chain needs more libraries ({error}): pip install 'bfedrec[merchants]'"
        ) from None
    finally:
        sys.setrecursionlimit(limit)
