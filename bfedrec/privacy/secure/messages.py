"""The three messages of a client in a round, as payloads of signed updates.

Each begins with its stage (one byte) and the client's number in the genesis (four, little-endian).

- **setup** (stage 0): the group's members in their order, the client's mask key for this round
  (X25519), and for each neighbour a sealed pair of shares; commitments to all shares, its own
  included, and to the seed of its self-mask.
- **masked** (stage 1): the members with whose keys it is masked (the roster), and the lanes.
- **unmask** (stage 2): the members whose masked updates are to count (the survivors), the members
  of whose secrets a share is given, and the shares: of the self-mask's seed for a survivor, of the
  mask's key for another member. One message has one share of a member, never both.

Whatever is not exactly of this form is refused before a server keeps it (`flaw`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bfedrec.aggregation.settings import SMALLEST_GROUP
from bfedrec.compression.lanes import packed_size, spare_bits_set
from bfedrec.privacy.secure.masks import COMMITMENT, KEY, SEALED, is_usable
from bfedrec.privacy.secure.scheme import Scheme

SETUP, MASKED, UNMASK = STAGES = (0, 1, 2)
NAMES: Final = ("setup", "masked update", "shares")
HEAD: Final = 5
"""Bytes before a message's own fields."""


class Malformed(ValueError):
    """Error: bytes that are no message; the text says why."""


def stage_of(payload: bytes) -> int:
    """The stage that a payload names, checked or not; -1 for no bytes."""
    return payload[0] if payload else -1


def number_of(payload: bytes) -> int:
    """The client's number that a payload names, checked or not."""
    return int.from_bytes(payload[1:HEAD], "little")


def head(stage: int, number: int) -> bytes:
    """The first bytes of a message."""
    return bytes((stage,)) + number.to_bytes(4, "little")


def positions(bits: int) -> list[int]:
    """The members of a set, ascending."""
    return [place for place in range(bits.bit_length()) if bits >> place & 1]


def set_of(members: Iterable[int]) -> int:
    """The set of these positions."""
    return sum(1 << place for place in set(members))


@dataclass(frozen=True)
class Setup:
    """A client's keys and shares for one round of one group."""

    number: int
    group: tuple[int, ...]
    public: bytes
    sealed: Mapping[int, bytes]
    """The sealed pair of shares of each neighbour, by position."""
    commitments: Mapping[int, tuple[bytes, bytes]]
    """The commitments to the shares of key and self-mask, by the holder's position."""
    self_commitment: bytes
    """The commitment to the self-mask's seed."""

    @property
    def position(self) -> int:
        """The client's place in its group."""
        return self.group.index(self.number)

    def encode(self, scheme: Scheme) -> bytes:
        """The message's bytes."""
        told = b"".join(number.to_bytes(4, "little") for number in self.group)
        closed = scheme.closed(len(self.group), self.position)
        sealed = b"".join(self.sealed[place] for place in closed if place != self.position)
        commitments = b"".join(b"".join(self.commitments[place]) for place in closed)
        size = bytes((len(self.group),))
        return (
            head(SETUP, self.number)
            + size
            + told
            + self.public
            + sealed
            + commitments
            + self.self_commitment
        )

    @classmethod
    def decode(cls, scheme: Scheme, payload: bytes) -> Setup:
        """The setup in a payload. Raises `Malformed`."""
        members = payload[HEAD] if len(payload) > HEAD else 0
        if not SMALLEST_GROUP <= members <= scheme.group:
            raise Malformed("the group's size")
        near = len(scheme.closed(members, 0))
        at = HEAD + 1 + 4 * members
        if len(payload) != at + KEY + (near - 1) * SEALED + (2 * near + 1) * COMMITMENT:
            raise Malformed("length")
        number, told = number_of(payload), payload[HEAD + 1 : at]
        group = tuple(int.from_bytes(told[k : k + 4], "little") for k in range(0, 4 * members, 4))
        if len(set(group)) != members or number not in group:
            raise Malformed("the group's members")
        public, at = payload[at : at + KEY], at + KEY
        position, sealed, commitments = group.index(number), {}, {}
        closed = scheme.closed(members, position)
        for place in closed:
            if place != position:
                sealed[place], at = payload[at : at + SEALED], at + SEALED
        for place in closed:
            both, at = payload[at : at + 2 * COMMITMENT], at + 2 * COMMITMENT
            commitments[place] = both[:COMMITMENT], both[COMMITMENT:]
        return cls(number, group, public, sealed, commitments, payload[at:])


@dataclass(frozen=True)
class Masked:
    """A client's masked update."""

    number: int
    roster: int
    """The set of members whose keys mask it, the client among them."""
    body: memoryview

    @staticmethod
    def encode(scheme: Scheme, number: int, roster: int, body: bytes) -> bytes:
        """The message's bytes."""
        return head(MASKED, number) + roster.to_bytes(scheme.map_size, "little") + body

    @classmethod
    def decode(cls, scheme: Scheme, payload: bytes) -> Masked:
        """The masked update in a payload. Raises `Malformed`."""
        at = HEAD + scheme.map_size
        if len(payload) != at + scheme.body_size:
            raise Malformed("length")
        roster = int.from_bytes(payload[HEAD:at], "little")
        if roster >> scheme.group:
            raise Malformed("members beyond the group")
        body, numbers = memoryview(payload)[at:], scheme.rows * scheme.items
        if spare_bits_set(body[: packed_size(numbers, scheme.bits)], numbers, scheme.bits) or (
            scheme.counted and spare_bits_set(body, scheme.items, scheme.count_bits)
        ):
            raise Malformed("unused bits are set")
        return cls(number_of(payload), roster, body)


@dataclass(frozen=True)
class Unmask:
    """A member's shares of others' secrets, and of its own."""

    number: int
    survivors: int
    """The set of members whose masked updates are to count."""
    shares: Mapping[int, bytes]
    """One share of each member named, by position."""

    def encode(self, scheme: Scheme) -> bytes:
        """The message's bytes."""
        sets = (self.survivors, set_of(self.shares))
        told = b"".join(each.to_bytes(scheme.map_size, "little") for each in sets)
        shares = b"".join(self.shares[place] for place in sorted(self.shares))
        return head(UNMASK, self.number) + told + shares

    @classmethod
    def decode(cls, scheme: Scheme, payload: bytes) -> Unmask:
        """The shares in a payload. Raises `Malformed`."""
        middle = HEAD + scheme.map_size
        at = middle + scheme.map_size
        survivors = int.from_bytes(payload[HEAD:middle], "little")
        given = int.from_bytes(payload[middle:at], "little")
        if (survivors | given) >> scheme.group:
            raise Malformed("members beyond the group")
        places = positions(given)
        if len(payload) != at + KEY * len(places):
            raise Malformed("length")
        shares = {
            place: payload[at + KEY * k : at + KEY * (k + 1)] for k, place in enumerate(places)
        }
        return cls(number_of(payload), survivors, shares)


def flaw(scheme: Scheme, payload: bytes) -> str | None:
    """Return the reason why an edge server must refuse ``payload``, or None."""
    stage = stage_of(payload)
    if stage not in STAGES or len(payload) < HEAD:
        return "no stage of secure aggregation"
    try:
        if stage == MASKED:
            Masked.decode(scheme, payload)
        elif stage == UNMASK:
            Unmask.decode(scheme, payload)
        elif not is_usable(Setup.decode(scheme, payload).public):
            raise Malformed("a key of small order")
    except Malformed as error:
        return f"malformed {NAMES[stage]}: {error}"
    return None
