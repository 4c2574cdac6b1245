"""The data set ``ml-1m``: MovieLens 1M (GroupLens), all ratings taken as 1s."""

from __future__ import annotations

import numpy as np

from bfedrec.data.entry import CatalogueEntry, Counts, FileEntry, Layout, PeopleFile, TitleFile
from bfedrec.data.files import Files
from bfedrec.data.interactions import Interactions, interactions_of
from bfedrec.data.ncf import NCF, read_published
from bfedrec.data.source import Catalogued, data_set
from bfedrec.data.textfile import ID, NUMBER, NUMBER_OR_EMPTY, Columns, read_columns

OFFICIAL = Layout(
    files={
        "interactions": FileEntry(
            archive="ml-1m.zip",
            path="ml-1m/ratings.dat",
            url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
            digest="md5:c4d9eecfca2ab87c1945afe126590906",
        ),
        "test": FileEntry(
            path="ml-1m.test.rating",
            url=f"{NCF}/ml-1m.test.rating",
            digest="sha256:231ae11eb060b643a8c58c063cd17ffc743b54f569afb073d1abb6cf126b88b5",
        ),
        "negatives": FileEntry(
            path="ml-1m.test.negative",
            url=f"{NCF}/ml-1m.test.negative",
            digest="sha256:127853228a76b7d21c0481e8ef8d00dd009cd5c88670dbdd9e9debfdb9f93de4",
        ),
    },
)
SHARED = Layout(
    files={
        "interactions": FileEntry(
            path="ml-1m/interactions.csv.gz",
            digest="sha256:36e3ae2cc30575e961051c031e0076c4acf4b2e099a649a1283c2e3eebeadd99",
        ),
        "test": FileEntry(
            path="ml-1m/ml-1m.test.rating.gz",
            digest="sha256:8e11ce0957e30adfa934de19395a9c8fde14c60b851222688bf2eb537995afc0",
        ),
        "negatives": FileEntry(
            path="ml-1m/ml-1m.test.negative.gz",
            digest="sha256:593efd18c323aac9ee3215a13bbbc310b7440f7e200caf38232aaab95b18fc59",
        ),
    },
)


@data_set("ml-1m", place=1)
class MovieLens1M(Catalogued):
    """MovieLens 1M, with NCF's test items; NCF's ids are user - 1 and the order of an item's first
    appearance."""

    entry = CatalogueEntry(
        title="MovieLens 1M",
        homepage="https://grouplens.org/datasets/movielens/1m/",
        licence=(
            "GroupLens research use: acknowledge in publications; no redistribution and no "
            "commercial use without permission"
        ),
        citation=(
            "F. M. Harper and J. A. Konstan. The MovieLens Datasets: History and Context. ACM"
            " TiiS 5(4), 2015. Test items and negatives: X. He et al. Neural Collaborative "
            "Filtering. WWW 2017."
        ),
        min_interactions=20,
        published_in="Table I",
        published=Counts(users=6_040, items=3_706, interactions=1_000_209, sparsity=95.53),
        layouts={"official": OFFICIAL, "shared": SHARED},
        titles=(
            TitleFile(
                file=FileEntry(archive="ml-1m.zip", path="ml-1m/movies.dat"),
                delimiter="::",
                item=0,
                title=1,
                encoding="latin-1",
            ),
        ),
        people=PeopleFile(
            file=FileEntry(archive="ml-1m.zip", path="ml-1m/users.dat"),
            delimiter="::",
            user=0,
            attributes={"gender": 1, "age": 2, "occupation": 3},
        ),
    )

    def read(self, files: Files, seed: int) -> Interactions:
        file = files.by_role["interactions"]
        if files.layout == "official":
            table = read_columns(file, {0: ID, 1: ID, 2: NUMBER, 3: NUMBER}, "::", header=False)
            users, items, times = table[0], table[1], table[3]
        else:
            columns: Columns = {
                "user": ID,
                "item": ID,
                "timestamp": NUMBER_OR_EMPTY,
                "tail_rank": NUMBER_OR_EMPTY,
            }
            table = read_columns(file, columns)
            users, items = table["user"], table["item"]
            times = _shared_times(users, table["timestamp"], table["tail_rank"])
        ids, first = np.unique(items, return_index=True)
        ncf_items = ids[np.argsort(first)]
        published = read_published(files, user_offset=1, item_ids=ncf_items)
        return interactions_of(files.layout, users, items, times, published)


def _shared_times(users: np.ndarray, timestamps: np.ndarray, tail_rank: np.ndarray) -> np.ndarray:
    """Order the rows of each user: by timestamps where all are known, else by the tail's ranks.

    Users whose rows lack timestamps have one only at NCF's test row, which is their latest: it
    gets rank 0. Rows before the ranked tail stay NaN, as do all the others of a user without ranks.
    """
    user = np.unique(users, return_inverse=True)[1]
    complete = np.bincount(user, weights=np.isnan(timestamps)) == 0
    ranks = np.where(np.isnan(timestamps), -tail_rank, 0.0)
    return np.where(complete[user], timestamps, ranks)
