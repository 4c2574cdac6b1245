"""How updates and aggregates become bytes: one codec for each format, and the exchange that
uses them."""
