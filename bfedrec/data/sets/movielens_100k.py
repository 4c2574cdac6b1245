"""The data set ``ml-100k``: MovieLens 100K (GroupLens), all ratings taken as 1s."""

from __future__ import annotations

from bfedrec.data.entry import CatalogueEntry, Counts, FileEntry, Layout, TitleFile
from bfedrec.data.files import Files
from bfedrec.data.interactions import Interactions, interactions_of
from bfedrec.data.source import Catalogued, data_set
from bfedrec.data.textfile import ID, NUMBER, read_columns

OFFICIAL = Layout(
    files={
        "interactions": FileEntry(
            archive="ml-100k.zip",
            path="ml-100k/u.data",
            url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
            digest="md5:0e33842e24a9c977be4e0107933c0723",
        ),
    },
)
SHARED = Layout(
    files={
        "interactions": FileEntry(
            path="ml-100k/ratings.csv.gz",
            digest="sha256:b37a13fc24e315b059cb4574ce6e225217f4d0bafb17e06d2579710ae7a0a5e6",
        ),
    },
)


@data_set("ml-100k", place=4)
class MovieLens100K(Catalogued):
    """MovieLens 100K."""

    entry = CatalogueEntry(
        title="MovieLens 100K",
        homepage="https://grouplens.org/datasets/movielens/100k/",
        licence=(
            "GroupLens research use: acknowledge in publications; no redistribution and no "
            "commercial use without permission"
        ),
        citation=(
            "F. M. Harper and J. A. Konstan. The MovieLens Datasets: History and Context. ACM"
            " TiiS 5(4), 2015."
        ),
        min_interactions=20,
        published_in="GroupLens",
        published=Counts(users=943, items=1_682, interactions=100_000, sparsity=93.7),
        layouts={"official": OFFICIAL, "shared": SHARED},
        titles=(
            TitleFile(
                file=FileEntry(archive="ml-100k.zip", path="ml-100k/u.item"),
                delimiter="|",
                item=0,
                title=1,
                encoding="latin-1",
            ),
        ),
    )

    def read(self, files: Files, seed: int) -> Interactions:
        file = files.by_role["interactions"]
        if files.layout == "official":
            table = read_columns(file, {0: ID, 1: ID, 2: NUMBER, 3: NUMBER}, "\t", header=False)
            return interactions_of(files.layout, table[0], table[1], table[3])
        table = read_columns(file, {"user": ID, "item": ID, "timestamp": NUMBER})
        return interactions_of(files.layout, table["user"], table["item"], table["timestamp"])
