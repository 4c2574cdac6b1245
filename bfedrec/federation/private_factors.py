"""The private numbers of all clients between their rounds: in memory, or mapped from a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from bfedrec.config.yaml_core import ConfigError

MAPPED_BYTES = 2**25
"""Bytes from which they lie in a file, of which memory holds the pages in use."""


def placed(P: np.ndarray, folder: Path | None) -> np.ndarray:
    """``P`` (float32[M, w]) itself if it is small or there is no ``folder``, else its numbers in a
    file there.

    The file has no name: it ends with the process, whatever ends that. A resume takes P from
    RUN/state.sqlite, where every round has written the rows that it changed. Raises ConfigError,
    in one line, where the disk has no room; on systems that reserve none this is not noticed here.
    """
    if folder is None or P.nbytes < MAPPED_BYTES:
        return P
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            _lengthen(file.fileno(), P.nbytes)
        except OSError as error:
            raise ConfigError(
                f"{folder}: no room for {P.nbytes / 2**20:,.0f} MiB of clients' private numbers: "
                f"{error.strerror}"
            ) from None
        mapped = np.memmap(file, P.dtype, "r+", shape=P.shape)
    mapped[:] = P
    return np.asarray(mapped)


def _lengthen(file: int, size: int) -> None:
    """Give a file ``size`` bytes, and, where the system can, their room on the disk at once. Raises
    OSError."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:  # as on macOS
        os.ftruncate(file, size)
