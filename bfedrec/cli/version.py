"""`bfedrec version`: the versions of the program and of its libraries."""

from __future__ import annotations

import argparse

from bfedrec.runs.manifest import versions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Set the command's handler; it has no arguments."""
    parser.set_defaults(handler=version_command)


def version_command(parsed: argparse.Namespace) -> int:
    """Print a line for each; returns 0."""
    for name, version in versions().items():
        print(f"{name} {version or 'not installed'}")
    return 0
