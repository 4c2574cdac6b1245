"""Texts for people: foreign ones made fit to be shown (on one line, cut, without characters that
mislead), and numbers of bytes."""

from __future__ import annotations

import unicodedata


def plain(text: str, most: int = 80) -> str:
    """A foreign text on one line, cut, and without characters that turn or hide what is beside."""
    normal = unicodedata.normalize("NFC", text[: 4 * most])
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in normal)
    return f"{shown[:most]}…" if len(shown) > most or len(text) > 4 * most else shown


def size(octets: float) -> str:
    """A number of bytes, in powers of 1,000."""
    value = float(octets)
    for unit in ("B", "KB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
