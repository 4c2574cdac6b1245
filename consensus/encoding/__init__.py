"""Canonical encodings: CIDs, UnixFS, DAG-CBOR and the fields of records."""
