"""`bfedrec rocrate RUN`: RO-Crate metadata of a run, beside its files."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec rocrate`."""
    parser.description = (
        "Write ro-crate-metadata.json into the folder of a run that has ended, so that archives "
        "and catalogues know what its files are, and which program made them of what. The clients' "
        "private factors (state.sqlite) are not part of the crate."
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument(
        "--licence", metavar="URL", default="", help="the licence under which you publish the run"
    )
    parser.set_defaults(handler=rocrate_command)


def rocrate_command(parsed: argparse.Namespace) -> int:
    """Write the file and print its path; returns 0."""
    from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError
    from bfedrec.files import write_text
    from bfedrec.report.rocrate import METADATA, crate_of, text_of

    if parsed.licence and not parsed.licence.startswith(("https://", "http://")):
        raise ConfigError(f"{COMMAND_LINE}: --licence {parsed.licence}: expected a URL")
    path = parsed.run / METADATA
    write_text(path, text_of(crate_of(parsed.run, parsed.licence)))
    print(path)
    return 0
