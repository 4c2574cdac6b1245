"""The data sets that come with the package, by their names.

Another data set is another class under `bfedrec.data.source.data_set`, in a file of its own that is
imported here, or in any file that is imported before a config is read.
"""

from __future__ import annotations

# isort: off
# Data sets are listed in the order of these imports.
import bfedrec.data.movielens_1m
import bfedrec.data.pinterest
import bfedrec.data.lastfm
import bfedrec.data.movielens_100k
import bfedrec.data.synthetic
import bfedrec.data.csv_file  # noqa: F401 - the data sets register themselves

# isort: on
from bfedrec.data.entry import CatalogueEntry, Counts
from bfedrec.data.source import DATA_SETS, Catalogued

__all__ = ["DATA_SETS", "CatalogueEntry", "Counts", "load_catalogue"]


def load_catalogue() -> dict[str, CatalogueEntry]:
    """The records of the published data sets by name, in the order of registration."""
    return {name: kind.entry for name, kind in DATA_SETS.items() if issubclass(kind, Catalogued)}
