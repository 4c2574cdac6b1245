"""`bfedrec chain export | import`: a run's chain to a CAR file, and back."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bfedrec.cli.bar import counted
from bfedrec.runs.folder import CHAIN, RUNS
from consensus.encoding.cid import cid_text
from consensus.storage import archive
from consensus.storage.car import CarError
from consensus.storage.content import StoreError
from consensus.storage.regular import BESIDE
from consensus.storage.sqlite import SqliteStore


def add_arguments(chain: argparse.ArgumentParser) -> None:
    """Add the commands below `bfedrec chain`."""
    commands = chain.add_subparsers(title="commands", metavar="COMMAND", required=True)
    out = commands.add_parser(
        "export", help="write a run's chain, with all it points to, to a CAR file"
    )
    out.add_argument("run", metavar="RUN", type=Path, help="a run folder, or a chain.sqlite")
    out.add_argument("file", metavar="FILE.car", type=Path, help="the file to write")
    out.set_defaults(handler=lambda parsed: export_command(parsed.run, parsed.file))
    into = commands.add_parser("import", help="make a folder for `bfedrec audit` of a CAR file")
    into.add_argument("file", metavar="FILE.car", type=Path, help="an exported chain")
    into.add_argument("--out", metavar="RUN", type=Path, help=f"folder (default: {RUNS}/FILE)")
    into.set_defaults(handler=lambda parsed: import_command(parsed.file, parsed.out))


def export_command(run: Path, file: Path) -> int:
    """Export the chain of a run folder or of a chain file; return 0.

    Raises `consensus.storage.content.StoreError` for a chain that cannot be read, or a file that
    exists already.
    """
    path = run / CHAIN if run.is_dir() else run
    if file.exists():
        raise StoreError(f"{file}: exists already; remove it first")
    with SqliteStore(path, read_only=True) as store, counted("export") as progress:
        try:
            head, count = archive.export_chain(store, file, progress)
        except StoreError as error:
            raise StoreError(f"{path}: {error}") from None
    print(f"{file}: {count:,} blocks of content, {file.stat().st_size:,} bytes; {_told(head)}")
    return 0


def import_command(file: Path, out: Path | None) -> int:
    """Import a chain into a folder that has none; return the exit status.

    It is 1, with a line on stderr, for a file that is damaged or no archive of a chain; the folder
    is then left as it was.
    """
    folder = RUNS / file.stem if out is None else out
    path, beside = folder / CHAIN, folder / ".chain.sqlite.part"
    if path.exists():
        raise StoreError(f"{path}: exists already; use another --out")
    for ending in BESIDE[1:]:
        left = path.with_name(f"{path.name}{ending}")
        if left.is_symlink() or left.exists():  # SQLite would apply it to the new file
            raise StoreError(f"{left}: left over from another chain; remove it first")
    created = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(f"{beside.name}*"):
        leftover.unlink()
    try:
        with SqliteStore(beside) as store, counted("import") as progress:
            head, height = archive.import_chain(file, store, progress)
        beside.replace(path)
    except BaseException as error:
        for leftover in sorted(folder.glob(f"{beside.name}*")):
            leftover.unlink()
        for each in created:
            each.rmdir()
        if isinstance(error, CarError):
            print(" ".join(str(error).split()), file=sys.stderr)
            return 1
        raise
    print(f"{path}: {height:,} blocks after the genesis; {_told(head)}")
    print(f"verify it with: bfedrec audit {folder}")
    return 0


def _told(head: bytes) -> str:
    return f"head {cid_text(head)}"
