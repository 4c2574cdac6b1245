"""`python -m docs.generator`: the site's sources, and its pages."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from docs.generator.build import build


def main() -> int:
    """Build the site; returns the exit status of Sphinx."""
    parser = argparse.ArgumentParser(prog="docs.generator", description="Build the documentation.")
    parser.add_argument("--out", type=Path, default=Path("build/docs"), help="default: build/docs")
    parser.add_argument("--strict", action="store_true", help="a warning is an error")
    parser.add_argument(
        "--notebooks", choices=("off", "cache", "force"), default="cache", help="execute notebooks"
    )
    parsed = parser.parse_args()
    return build(parsed.out, parsed.notebooks, parsed.strict)


if __name__ == "__main__":
    sys.exit(main())
