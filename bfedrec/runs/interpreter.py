"""Settings of the Python interpreter for the time in which rounds are played."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_SECONDS = 2e-4
"""Seconds after which a thread that waits for the interpreter gets it. By Python's 5 ms a training
would wait for the servers at every update that it hashes and signs, and they for it in the end."""


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Switch off automatic collections of cyclic garbage, leaving explicit ones.

    A height makes some hundred thousand short-lived objects and hardly any cycles; automatic
    collections, which are triggered by the number of objects, take a sixth of a run and free
    nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()  # what exists already is not looked at by the explicit ones
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


@contextmanager
def switching_often() -> Iterator[None]:
    """Let threads take turns every `SWITCH_SECONDS`."""
    was = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(was)
