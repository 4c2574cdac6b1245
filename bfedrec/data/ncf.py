"""The test items and negatives that NCF published (He et al., WWW 2017), and their files."""

from __future__ import annotations

import numpy as np

from bfedrec.data.files import Files
from bfedrec.data.interactions import DataError, PublishedSplit
from bfedrec.data.textfile import ID, TEXT, Columns, read_columns

NCF = "https://raw.githubusercontent.com/hexiangnan/neural_collaborative_filtering/master/Data"
"""The folder of NCF's files."""
NEGATIVES = 99
"""Length of a published list of negatives."""


def read_published(
    files: Files, user_offset: int = 0, item_ids: np.ndarray | None = None
) -> PublishedSplit | None:
    """Read NCF's test items and negatives in the source's ids; None where they were not asked for.

    `item_ids[k]` is the source's id of NCF's item k (None: the same ids).
    """
    if "test" not in files.by_role:
        return None
    file = files.by_role["test"]
    table = read_columns(file, {0: ID, 1: ID}, "\t", header=False)
    users, items = table[0], table[1]
    if len(np.unique(users)) != len(users):
        raise DataError(f"{file}: a user has more than one test item")
    negatives = None
    if "negatives" in files.by_role:
        listed = files.by_role["negatives"]
        columns: Columns = {0: TEXT}
        columns.update(dict.fromkeys(range(1, NEGATIVES + 1), ID))
        table_negatives = read_columns(listed, columns, "\t", header=False)
        expected = np.array([f"({u},{i})" for u, i in zip(users, items, strict=True)])
        if not np.array_equal(table_negatives[0], expected):
            raise DataError(f"{listed}: its (user,item) pairs are not those of {file}")
        negatives = np.stack([table_negatives[k] for k in range(1, NEGATIVES + 1)], axis=1)
    if item_ids is not None:
        largest = max(int(items.max()), 0 if negatives is None else int(negatives.max()))
        if largest >= len(item_ids):
            raise DataError(f"{file}: names NCF's item {largest} of only {len(item_ids)} items")
        items = item_ids[items]
        negatives = None if negatives is None else item_ids[negatives]
    return PublishedSplit(users + user_offset, items, negatives)
