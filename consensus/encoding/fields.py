"""The base class of all records, and checks of single fields.

Every check takes a value and the field's name (`what`). It returns the value if it is of the form
that the record prescribes, and raises `MalformedRecord` naming the field if it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from consensus.encoding.cid import EncodingError, digest, is_cid
from consensus.encoding.dag_cbor import decode, encode
from consensus.encoding.node import Node

PROOF_BYTES = 80
GAMMA_BYTES = 32
KEY_BYTES = 32
SIGNATURE_BYTES = 64
DIGEST_BYTES = 32
MAX_INT = 2**63 - 1

_NAMES: dict[type, frozenset[str]] = {}


class MalformedRecord(ValueError):
    """Error: bytes or a node that is not a record of the expected kind."""


def names_of(record: type) -> frozenset[str]:
    """The names of a record class's fields."""
    names = _NAMES.get(record)
    if names is None:
        names = _NAMES[record] = frozenset(field.name for field in fields(record))
    return names


def fields_of(node: Any, record: str, names: frozenset[str]) -> Mapping[str, Any]:
    """Check that ``node`` is a map with exactly the fields ``names``; return it."""
    if not isinstance(node, dict):
        raise MalformedRecord(f"{record}: expected a map, got {type(node).__name__}")
    if node.keys() != names:
        odd = sorted(set(map(str, node.keys())) ^ names)
        raise MalformedRecord(f"{record}: missing or unknown fields {', '.join(odd)}")
    return node


def integer(value: Any, what: str, low: int = 0, high: int = MAX_INT) -> int:
    """Check that ``value`` is an integer in [``low``, ``high``], not a boolean; return it."""
    if type(value) is not int or not low <= value <= high:
        raise MalformedRecord(f"{what}: expected an integer from {low} to {high}")
    return value


def fixed_bytes(value: Any, what: str, length: int) -> bytes:
    """Check that ``value`` is ``length`` bytes; return it."""
    if type(value) is not bytes or len(value) != length:
        raise MalformedRecord(f"{what}: expected {length} bytes")
    return value


def link(value: Any, what: str) -> bytes:
    """Check that ``value`` is a binary CID; return it."""
    if type(value) is not bytes or not is_cid(value):
        raise MalformedRecord(f"{what}: expected a link (CIDv1, sha2-256)")
    return value


def optional_link(value: Any, what: str) -> bytes | None:
    """Check that ``value`` is a binary CID or None; return it."""
    return None if value is None else link(value, what)


def one_of(value: Any, what: str, allowed: Sequence[str]) -> str:
    """Check that ``value`` is one of the ``allowed`` words; return it."""
    if type(value) is not str or value not in allowed:
        raise MalformedRecord(f"{what}: expected one of {', '.join(allowed)}")
    return value


def items_of(value: Any, what: str) -> list[Any]:
    """Check that ``value`` is a list; return it."""
    if not isinstance(value, list):
        raise MalformedRecord(f"{what}: expected a list")
    return value


def distinct(keys: list[bytes], what: str) -> None:
    """Raise `MalformedRecord` if a key occurs twice: its holder would have two seats, or two sample
    counts."""
    if len(set(keys)) != len(keys):
        raise MalformedRecord(f"{what}: stands twice")


def pair(value: Any, what: str) -> tuple[Any, Any]:
    """Check that ``value`` is a list of two; return its entries."""
    if not isinstance(value, list) or len(value) != 2:
        raise MalformedRecord(f"{what}: expected a pair")
    return value[0], value[1]


T = TypeVar("T")


class computed_once(Generic[T]):
    """A property of an immutable object, computed at the first access and then kept.

    `functools.cached_property` does the same, but up to Python 3.11 under a lock that takes longer
    than most of the computations it guards.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, record: None, owner: type) -> Self: ...
    @overload
    def __get__(self, record: object, owner: type) -> T: ...
    def __get__(self, record: Any, owner: type) -> Self | T:
        if record is None:
            return self
        value = record.__dict__[self._name] = self._compute(record)
        return value


class Record:
    """A frozen record with one canonical byte form."""

    KIND: ClassVar[str]

    def to_node(self) -> Node:
        """The record as DAG-CBOR data: a map of its fields, which are integers, bytes or links.

        A record with fields of other types overrides this.
        """
        values = self.__dict__
        return {name: values[name] for name in names_of(type(self))}

    @classmethod
    def from_node(cls, node: Any) -> Self:
        """The record that ``node`` describes; raises `MalformedRecord` if it describes none."""
        raise NotImplementedError

    @computed_once
    def encoded(self) -> bytes:
        """The canonical bytes of the record: these travel, are counted and are stored."""
        return encode(self.to_node())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The record that the bytes ``data`` encode.

        Raises `MalformedRecord` for bytes that are no such record or not in canonical form.
        """
        try:
            return cls.from_node(decode(data))
        except EncodingError as error:
            raise MalformedRecord(f"{cls.KIND}: {error}") from error


def signing_digest_of(kind: str, fields: Sequence[Any]) -> bytes:
    """The digest that a signature covers: of the fields, under a tag that names the kind of record.

    The tag keeps a signature made for one kind of record from being valid for another.
    """
    return digest(encode([f"bfedrec/{kind}", *fields]))
