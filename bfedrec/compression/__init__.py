"""Encoding of updates and aggregates as bytes: one codec for each format, and the exchange that
uses them."""
