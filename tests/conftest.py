"""Fixtures that several test files use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets: BFEDREC_DATA, else ../shared/datasets beside the project."""
    folder = Path(os.environ.get("BFEDREC_DATA") or ROOT.parent / "shared" / "datasets")
    if not (folder / "ml-1m" / "interactions.csv.gz").is_file():
        pytest.skip(f"no real data sets in {folder}: set BFEDREC_DATA")
    return folder
