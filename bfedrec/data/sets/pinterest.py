"""The data set ``pinterest``: pins, in the form that NCF published."""

from __future__ import annotations

import numpy as np

from bfedrec.data.entry import CatalogueEntry, Counts, FileEntry, Layout
from bfedrec.data.files import Files
from bfedrec.data.interactions import DataError, Interactions, interactions_of, merge_pairs
from bfedrec.data.ncf import NCF, read_published
from bfedrec.data.source import Catalogued, data_set
from bfedrec.data.textfile import ID, read_columns

OFFICIAL = Layout(
    files={
        "interactions": FileEntry(
            path="pinterest-20.train.rating",
            url=f"{NCF}/pinterest-20.train.rating",
        ),
        "test": FileEntry(
            path="pinterest-20.test.rating",
            url=f"{NCF}/pinterest-20.test.rating",
            digest="sha256:3a8a8f7eb8e21cc5928b8259dd2c265269ecfa219d92ba829249956aa293d732",
        ),
        "negatives": FileEntry(
            path="pinterest-20.test.negative",
            url=f"{NCF}/pinterest-20.test.negative",
        ),
    },
)
SHARED = Layout(
    note="the first 37,501 of 55,187 users",
    expected=Counts(users=37_501, items=9_836, interactions=1_025_709, sparsity=99.72),
    files={
        "interactions": FileEntry(
            path="pinterest/interactions-users-0-37500.csv.gz",
            digest="sha256:0d7e0e972d0d0fcabc873a61b1f6e765c304fb8c62ae24d8b71fece96af0b254",
        ),
        "test": FileEntry(
            path="pinterest/pinterest-20.test.rating.gz",
            digest="sha256:a4d0b39f71ff8c3cc8f850c6f819dcf8a29194c46a979e596bf65fb938bac408",
        ),
    },
)


@data_set("pinterest", place=2)
class Pinterest(Catalogued):
    """Pinterest in NCF's ids; no times exist, and a pair may be listed more than once."""

    # NCF's training file holds all but the test items.
    needs_tests = True
    entry = CatalogueEntry(
        title="Pinterest (NCF's pinterest-20)",
        homepage="https://github.com/hexiangnan/neural_collaborative_filtering",
        licence="research use only (the authors of the Pinterest data); NCF's files: Apache-2.0",
        citation=(
            "X. Geng et al. Learning Image and User Features for Recommendation in Social "
            "Networks. ICCV 2015. Split: X. He et al. Neural Collaborative Filtering. WWW "
            "2017."
        ),
        # Table I counts every user of NCF's files, which were filtered by NCF already.
        min_interactions=1,
        published_in="Table I",
        published=Counts(users=55_187, items=9_916, interactions=1_500_809, sparsity=99.73),
        layouts={"official": OFFICIAL, "shared": SHARED},
    )

    def read(self, files: Files, seed: int) -> Interactions:
        file = files.by_role["interactions"]
        if files.layout == "official":
            table = read_columns(file, {0: ID, 1: ID}, "\t", header=False)
            users, items = table[0], table[1]
            published = read_published(files)
            if published is None:
                raise DataError(
                    f"{file}: holds no test items; pinterest-20.test.rating is needed too"
                )
            # NCF's training file leaves the test items out; Table I counts them.
            users = np.concatenate([users, published.users])
            items = np.concatenate([items, published.items])
            counts = np.ones(len(users), dtype=np.int64)
        else:
            table = read_columns(file, {"user": ID, "item": ID, "n": ID})
            users, items, counts = table["user"], table["item"], table["n"]
            published = read_published(files)
        times = np.full(len(users), np.nan)
        every = interactions_of(files.layout, users, items, times, published, counts)
        return merge_pairs(every)
