"""The data set ``lfm-2k``: Last.fm (HetRec 2011), users' tags of artists."""

from __future__ import annotations

from bfedrec.data.entry import CatalogueEntry, Counts, FileEntry, Layout, TitleFile, Variant
from bfedrec.data.files import Files
from bfedrec.data.interactions import Interactions, interactions_of
from bfedrec.data.source import Catalogued, data_set
from bfedrec.data.textfile import ID, NUMBER, Columns, read_columns

OFFICIAL = Layout(
    files={
        "interactions": FileEntry(
            archive="hetrec2011-lastfm-2k.zip",
            path="user_taggedartists-timestamps.dat",
            url="https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip",
            digest="sha256:6738f48195667ff03caaab4d32ca9a3133d8cc026b7c3cdaf6ce1010e913c59c",
        ),
    },
)
SHARED = Layout(
    files={
        "interactions": FileEntry(
            path="lastfm-2k/ratings.csv.gz",
            digest="sha256:1d8fda1bc150c02e1636571647d913ec08ad429b4e0f41de9b7352c8277f9dc7",
        ),
    },
)


@data_set("lfm-2k", place=3)
class LastFm2K(Catalogued):
    """Last.fm tag assignments: one row per user, artist and tag."""

    entry = CatalogueEntry(
        title="Last.fm 2K (HetRec 2011), tag assignments",
        homepage="https://grouplens.org/datasets/hetrec-2011/",
        licence="non-commercial use only; credit Last.fm",
        citation=(
            "I. Cantador, P. Brusilovsky and T. Kuflik. 2nd Workshop on Information "
            "Heterogeneity and Fusion in Recommender Systems (HetRec 2011). RecSys 2011."
        ),
        # Counted in rows: the published 1,600 users are those with 5 tag assignments or more.
        min_interactions=5,
        published_in="Table I",
        published=Counts(users=1_600, items=12_454, interactions=185_650, sparsity=99.07),
        layouts={"official": OFFICIAL, "shared": SHARED},
        titles=(
            TitleFile(
                file=FileEntry(archive="hetrec2011-lastfm-2k.zip", path="artists.dat"),
                delimiter="\t",
                item=0,
                title=1,
                header=True,
            ),
        ),
        variants={
            "distinct": Variant(
                note="one row per user and artist, so no test artist is in training",
                expected=Counts(users=1_600, items=12_454, interactions=70_508, sparsity=99.65),
            ),
        },
    )

    def read(self, files: Files, seed: int) -> Interactions:
        file = files.by_role["interactions"]
        if files.layout == "official":
            columns: Columns = {"userID": ID, "artistID": ID, "timestamp": NUMBER}
            table = read_columns(file, columns, "\t")
            users, items, times = table["userID"], table["artistID"], table["timestamp"]
        else:
            table = read_columns(file, {"user": ID, "item": ID, "timestamp_ms": NUMBER})
            users, items, times = table["user"], table["item"], table["timestamp_ms"]
        return interactions_of(files.layout, users, items, times)
