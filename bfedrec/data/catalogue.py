"""The data sets that come with the package, by their names.

Another data set is another class under `bfedrec.data.source.data_set`: in a file of
`bfedrec.data.sets`, which is found there, or in a plugin.
"""

from __future__ import annotations

from bfedrec.data.entry import CatalogueEntry, Counts
from bfedrec.data.source import DATA_SETS, Catalogued
from consensus.registry import import_parts

__all__ = ["DATA_SETS", "CatalogueEntry", "Counts", "load_catalogue"]

import_parts("bfedrec.data.sets")


def load_catalogue() -> dict[str, CatalogueEntry]:
    """The records of the published data sets by name, in the order of their places."""
    return {name: kind.entry for name, kind in DATA_SETS.items() if issubclass(kind, Catalogued)}
