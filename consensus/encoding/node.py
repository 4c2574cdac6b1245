"""The map type that records and standings take on their way to and from bytes."""

from __future__ import annotations

#: A map of values by name, as DAG-CBOR and JSON have it: integers, numbers, texts, bytes, None, and
#: lists and maps of these. Whoever reads a value from one checks its type
#: (`consensus.encoding.fields`).
Node = dict[str, object]
