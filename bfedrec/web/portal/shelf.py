"""The products of one merchant, as its own events tell of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from bfedrec.merchants.events import EventReader

FEATURED: Final = 3
"""Products on the personal page (report, section 2.2.2)."""
_COLUMNS: Final = ["product_id", "category_code", "brand", "price"]


@dataclass(frozen=True)
class Product:
    """One product; its texts are what a file said, and foreign."""

    id: int
    category: str
    """Names from the widest to the narrowest, apart by dots; empty for none."""
    brand: str
    price: float
    views: int
    carts: int
    purchases: int

    @property
    def kind(self) -> str:
        """The narrowest name of its category, for people."""
        return self.category.rpartition(".")[2].replace("_", " ")

    @property
    def title(self) -> str:
        """Brand and kind, or the number where a file tells neither."""
        return " ".join(each for each in (self.brand, self.kind) if each) or f"product {self.id}"


class Shelf:
    """All products in some files of events, the latest description of each."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Read the files. Raises DataError for one that cannot be read."""
        parts, counts = [], []
        for path in files:
            for chunk in EventReader(path):
                frame = chunk.frame
                parts.append(frame[_COLUMNS].astype({"category_code": str, "brand": str}))
                parts[-1] = parts[-1].drop_duplicates("product_id", keep="last")
                counts.append(frame.groupby(["product_id", "event_type"], observed=True).size())
        self.events = int(sum(each.sum() for each in counts))
        self.products: dict[int, Product] = {}
        if not parts:
            return
        known = pd.concat(parts).drop_duplicates("product_id", keep="last")
        number = pd.concat(counts).groupby(level=[0, 1], observed=True).sum().to_dict()
        columns = (known[name].tolist() for name in _COLUMNS)
        for id, category, brand, price in zip(*columns, strict=True):
            kinds = (number.get((id, kind), 0) for kind in ("view", "cart", "purchase"))
            self.products[id] = Product(id, category, brand, price, *kinds)

    def featured(self, merchant: str, day: date) -> list[Product]:
        """Three products that are drawn anew each day."""
        ids = sorted(self.products)
        seed = [day.toordinal(), *merchant.encode()]
        drawn = np.random.default_rng(seed).permutation(len(ids))[:FEATURED]
        return [self.products[ids[place]] for place in drawn]
