"""A generated market: products and customers with hidden tastes, and shops that share some of both.

Nothing in REES46's events could be published with this project, so that tests, demonstrations and
tables run on generated ones. They have a structure that learning can find: a customer's taste and a
product's character are unit vectors near the centres of categories, and a customer looks at
products in proportion to exp(AFFINITY taste . character + popularity).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bfedrec.streams import Streams

TAXONOMY: tuple[tuple[str, float], ...] = (
    ("electronics.smartphone", 280.0),
    ("electronics.audio.headphone", 60.0),
    ("electronics.video.tv", 390.0),
    ("electronics.clocks", 180.0),
    ("electronics.tablet", 230.0),
    ("computers.notebook", 640.0),
    ("computers.desktop", 480.0),
    ("computers.peripherals.printer", 150.0),
    ("appliances.kitchen.washer", 330.0),
    ("appliances.kitchen.refrigerators", 450.0),
    ("appliances.environment.vacuum", 110.0),
    ("appliances.kitchen.microwave", 80.0),
    ("apparel.shoes", 70.0),
    ("apparel.shoes.keds", 60.0),
    ("furniture.living_room.sofa", 260.0),
    ("furniture.bedroom.bed", 210.0),
    ("kids.carriage", 190.0),
    ("kids.toys", 30.0),
    ("auto.accessories.player", 90.0),
    ("construction.tools.drill", 85.0),
    ("", 45.0),
    ("", 120.0),
    ("", 20.0),
)
"""Categories' codes, as REES46 writes them, with a middle price; some events name no code."""
SYLLABLES = ("ka", "lo", "mi", "ne", "ra", "su", "te", "vo", "xi", "zan", "dor", "fel")
BRANDS = 6
"""Brands of a category; a product in six has none."""

RANK = 8
"""Dimension of the hidden tastes."""
NOISE = 0.7
"""Length of what separates a product or a customer from the centre of its category."""
AFFINITY = 4.0
POPULARITY = 0.8
"""Standard deviation of the logarithm of products' popularity."""
MOST_PAIRS = 10**9
"""Greatest number of customers times products of a shop: each weighs each."""


@dataclass(frozen=True)
class MarketSettings:
    """The sizes of a market. Raises ValueError for sizes that make none."""

    shops: int = 3
    customers: int = 900
    products: int = 500
    customer_share: float = 0.6
    """Share of the customers that a shop has; each customer has at least one shop."""
    product_share: float = 0.6
    """Share of the products that a shop sells; each product is sold somewhere."""

    def __post_init__(self) -> None:
        for name, most in (("shops", 1_000), ("customers", 10**7), ("products", 10**6)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be 1 to {most:,}, not {getattr(self, name):,}")
        for name in ("customer_share", "product_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be above 0 and at most 1")
        if self.customers * self.products > MOST_PAIRS:
            raise ValueError(f"customers times products must be at most {MOST_PAIRS:,}")


@dataclass(frozen=True)
class Market:
    """All products and customers."""

    product_ids: np.ndarray
    """int64[N], ascending."""
    product_texts: tuple[str, ...]
    """Of each product the cells from product_id to price, as a file has them."""
    characters: np.ndarray
    """float64[N, RANK], unit vectors."""
    popularity: np.ndarray
    """float64[N]: logarithms."""
    customer_ids: np.ndarray
    """int64[M], ascending."""
    tastes: np.ndarray
    """float64[M, RANK], unit vectors."""
    activity: np.ndarray
    """float64[M]: how much each looks around, relative to others."""
    sold: np.ndarray
    """bool[shops, N]: the products of each shop."""
    visits: np.ndarray
    """bool[shops, M]: the customers of each shop."""

    @property
    def shops(self) -> int:
        """Number of shops."""
        return len(self.sold)


def market_of(settings: MarketSettings, streams: Streams) -> Market:
    """The market of these sizes; the same streams give the same."""
    rng = streams.generator("market", 0)
    N, M = settings.products, settings.customers
    centres = rng.standard_normal((len(TAXONOMY), RANK))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    category = rng.choice(len(TAXONOMY), N)
    product_ids = np.sort(1_000_000 + rng.choice(60_000_000, N, replace=False))
    return Market(
        product_ids=product_ids,
        product_texts=_texts(product_ids, category, rng),
        characters=_near(centres[category], rng),
        popularity=POPULARITY * rng.standard_normal(N),
        customer_ids=np.sort(500_000_000 + rng.choice(90_000_000, M, replace=False)),
        tastes=_near(centres[rng.choice(len(TAXONOMY), M)], rng),
        activity=rng.lognormal(0.0, 0.6, M),
        sold=_shared(settings.shops, N, settings.product_share, rng),
        visits=_shared(settings.shops, M, settings.customer_share, rng),
    )


def _near(centres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors near these centres."""
    vectors = centres + NOISE / np.sqrt(RANK) * rng.standard_normal(centres.shape)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _shared(shops: int, count: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """bool[shops, count]: members of each shop, everyone of at least one; no shop is empty."""
    member = rng.random((shops, count)) < share
    member[rng.integers(shops, size=count), np.arange(count)] = True
    member[np.arange(shops), rng.integers(count, size=shops)] = True
    return member


def _texts(ids: np.ndarray, category: np.ndarray, rng: np.random.Generator) -> tuple[str, ...]:
    """The cells product_id, category_id, category_code, brand and price of each product."""
    brands = [
        ["".join(rng.choice(SYLLABLES, 3)) for _ in range(BRANDS)] for _ in range(len(TAXONOMY))
    ]
    brand = rng.integers(BRANDS, size=len(ids))
    nameless = rng.random(len(ids)) < 1 / 6
    factors = rng.lognormal(0.0, 0.5, len(ids))
    texts = []
    for k, (number, kind) in enumerate(zip(ids.tolist(), category.tolist(), strict=True)):
        code, middle = TAXONOMY[kind]
        name = "" if nameless[k] else brands[kind][brand[k]]
        category_id = 2_053_013_550_000_000_000 + 1_000_003 * (kind + 1)
        texts.append(f"{number},{category_id},{code},{name},{middle * factors[k]:.2f}")
    return tuple(texts)
