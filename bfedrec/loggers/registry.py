"""The loggers by their names, those that come with the package included."""

from __future__ import annotations

from bfedrec.loggers.logger import LOGGERS
from consensus.registry import import_parts

__all__ = ["LOGGERS"]

import_parts("bfedrec.loggers.kinds")
