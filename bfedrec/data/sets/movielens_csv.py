"""The data sets ``ml-20m``, ``ml-25m`` and ``ml-32m`` (GroupLens), all ratings taken as 1s."""

from __future__ import annotations

from bfedrec.data.entry import CatalogueEntry, Counts, FileEntry, Layout
from bfedrec.data.files import Files
from bfedrec.data.formats.movielens import MovieLens
from bfedrec.data.interactions import Interactions
from bfedrec.data.layout import as_interactions
from bfedrec.data.source import Catalogued, data_set


def _entry(size: str, md5: str, rated: int, published: Counts) -> CatalogueEntry:
    """The record of MovieLens ``size`` (as 20m): the digest of its archive, the number of items
    with a rating, and the counts that GroupLens publishes, which include items without one."""
    archive = f"ml-{size}.zip"
    sparsity = 100 * (1 - published.interactions / (published.users * rated))
    official = Layout(
        note="items with a rating",
        expected=published.model_copy(update={"items": rated, "sparsity": round(sparsity, 2)}),
        files={
            "interactions": FileEntry(
                archive=archive,
                path=f"ml-{size}/ratings.csv",
                url=f"https://files.grouplens.org/datasets/movielens/{archive}",
                digest=f"md5:{md5}",
            ),
        },
    )
    return CatalogueEntry(
        title=f"MovieLens {size.upper()}",
        homepage=f"https://grouplens.org/datasets/movielens/{size}/",
        licence=(
            "GroupLens research use: acknowledge in publications; no redistribution without the "
            "same conditions and no commercial use without permission"
        ),
        citation=(
            "F. M. Harper and J. A. Konstan. The MovieLens Datasets: History and Context. ACM"
            " TiiS 5(4), 2015."
        ),
        min_interactions=20,
        published_in="GroupLens",
        published=published,
        layouts={"official": official},
    )


class _MovieLensCsv(Catalogued):
    """A MovieLens data set whose archive holds ratings.csv."""

    def read(self, files: Files, seed: int) -> Interactions:
        return as_interactions(files.layout, MovieLens().rows(files.by_role["interactions"], {}))


@data_set("ml-20m", place=9)
class MovieLens20M(_MovieLensCsv):
    """MovieLens 20M."""

    entry = _entry(
        "20m",
        "cd245b17a1ae2cc31bb14903e1204af3",
        26_744,
        Counts(users=138_493, items=27_278, interactions=20_000_263, sparsity=99.47),
    )


@data_set("ml-25m", place=10)
class MovieLens25M(_MovieLensCsv):
    """MovieLens 25M."""

    entry = _entry(
        "25m",
        "6b51fb2759a8657d3bfcbfc42b592ada",
        59_047,
        Counts(users=162_541, items=62_423, interactions=25_000_095, sparsity=99.75),
    )


@data_set("ml-32m", place=11)
class MovieLens32M(_MovieLensCsv):
    """MovieLens 32M."""

    entry = _entry(
        "32m",
        "d472be332d4daa821edc399621853b57",
        84_432,
        Counts(users=200_948, items=87_585, interactions=32_000_204, sparsity=99.82),
    )
