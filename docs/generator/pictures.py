"""The pictures of the pages, which are committed: `python -m docs.generator.pictures` writes them.

A test holds them equal to what this gives.
"""

from __future__ import annotations

from docs.generator.rooms_picture import rooms_picture
from docs.generator.round_picture import round_picture
from docs.generator.sources import ROOT
from tests.test_architecture import ARROWS

FOLDER = ROOT / "docs" / "images"


def pictures() -> dict[str, str]:
    """Every picture by its file's name."""
    return {"round.svg": round_picture(), "rooms.svg": rooms_picture(ARROWS)}


def main() -> None:
    """Write all of them."""
    for name, text in pictures().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name, len(text.encode()))


if __name__ == "__main__":
    main()
