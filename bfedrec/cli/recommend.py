"""`bfedrec recommend`: every user's list of items from a finished run, as a file."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec recommend`."""
    parser.description = (
        "Write the items of the highest scores for every user of a finished run, in the columns "
        "q_id, doc_id, score, which ranx reads. What a user ever touched is left out, except for "
        "the held-out test item; equal scores stand in the order of the data set's items."
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of `run` or `learn`")
    parser.add_argument("--top", type=int, default=10, help="length of a list (default: 10)")
    parser.add_argument("--out", type=Path, required=True, help="file to write: .parquet or .csv")
    parser.add_argument("--users", metavar="ID,ID", help="only these, by their ids in the source")
    parser.add_argument(
        "--ordered",
        action="store_true",
        help="weigh what a user did by recency (a run with evaluation.recency)",
    )
    parser.set_defaults(handler=recommend_command)


def recommend_command(parsed: argparse.Namespace) -> int:
    """Write the lists, and print how many; returns the exit status."""
    from bfedrec.cli.bar import counted
    from bfedrec.runs.recommend import write_lists

    with counted("users") as tell:
        users, rows = write_lists(
            parsed.run, parsed.top, parsed.out, parsed.users, parsed.ordered, tell
        )
    print(f"{parsed.out}: {rows:,} rows of {users:,} users")
    return 0
