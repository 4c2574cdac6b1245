"""Shards: the division of one file's events among merchants, by a rule that anyone can repeat.

A merchant with a file of its own needs no rule. A rule hashes what its events have in common, the
user or the category, with keyed BLAKE2b, so that a shard does not depend on the order of events, on
other events or on the platform, and who does not know the key cannot choose ids that all fall to
one merchant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Rule = Literal["user", "category"]
RULES: tuple[str, ...] = get_args(Rule)
"""user: all events of a user are one merchant's. category: those of a main category (the word
before the first point of category_code, else category_id)."""


@dataclass(frozen=True)
class Shard:
    """The events of one of ``merchants`` merchants, by the hash of their user or category."""

    rule: Rule
    merchant: int
    merchants: int
    key: bytes = b""
    """Key of the hash, at most 64 bytes; all merchants' shards have the same."""
    _known: dict[int | str, int] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"rule {self.rule!r} is not one of {', '.join(RULES)}")
        if not 0 <= self.merchant < self.merchants:
            raise ValueError(f"merchant {self.merchant} is not one of 0 to {self.merchants - 1}")
        if len(self.key) > 64:
            raise ValueError(f"the key has {len(self.key)} bytes, more than 64")

    @classmethod
    def parse(cls, text: str, key: bytes = b"") -> Shard:
        """The shard RULE:MERCHANT/MERCHANTS, as user:0/3. Raises ValueError."""
        rule, _, places = text.partition(":")
        merchant, _, merchants = places.partition("/")
        if rule not in RULES or not all(
            part.isascii() and part.isdigit() and len(part) < 10 for part in (merchant, merchants)
        ):
            raise ValueError(f"shard {text!r}: expected user:0/3 or category:0/3")
        return cls(rule, int(merchant), int(merchants), key)  # type: ignore[arg-type]

    def has(self, frame: pd.DataFrame) -> np.ndarray:
        """bool[n]: the events of a frame that are in this shard."""
        return self.merchants_of(frame) == self.merchant

    def merchants_of(self, frame: pd.DataFrame) -> np.ndarray:
        """int64[n]: the merchant of each event."""
        if self.rule == "user":
            values, place = np.unique(frame["user_id"].to_numpy(), return_inverse=True)
            return np.array([self._hash(int(one)) for one in values], np.int64)[place]
        codes = frame["category_code"].cat
        named = np.array(
            [self._hash(code.split(".")[0]) for code in codes.categories.tolist()], np.int64
        )
        found = named[codes.codes] if len(named) else np.empty(0, np.int64)
        without = (frame["category_code"] == "").to_numpy()
        values, place = np.unique(frame["category_id"].to_numpy()[without], return_inverse=True)
        found[without] = np.array([self._hash(int(one)) for one in values], np.int64)[place]
        return found

    def _hash(self, value: int | str) -> int:
        """The merchant of a user's id, a category's name or its id."""
        if value not in self._known:
            if len(self._known) >= 2**20:  # a file may name any number of users
                self._known.clear()
            content = value.to_bytes(8, "little") if isinstance(value, int) else value.encode()
            digest = blake2b(content, key=self.key, digest_size=8, person=self.rule.encode())
            self._known[value] = int.from_bytes(digest.digest(), "little") % self.merchants
        return self._known[value]
