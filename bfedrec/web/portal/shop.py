"""One merchant's side of the portal: its files of events, uploads, products and losses."""

from __future__ import annotations

import csv
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bfedrec.merchants.rounds.workspace import Workspace
from bfedrec.merchants.training import EpochLosses
from bfedrec.web.portal.shelf import Shelf
from bfedrec.web.portal.uploads import Upload, Uploads
