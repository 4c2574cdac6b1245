"""The inference attacks that come with the package, registered by being imported."""

from __future__ import annotations

from bfedrec.privacy.inference import INFERENCES
from consensus.registry import import_parts

__all__ = ["INFERENCES"]

import_parts("bfedrec.privacy.inferences")
