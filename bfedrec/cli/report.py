"""`bfedrec report RUN|SWEEP --out report.html`: a run or a sweep as one HTML file."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bfedrec.cli.status import CHECK_FAILED

if TYPE_CHECKING:
    from bfedrec.report.page.facts import RunFacts
    from bfedrec.report.page.run import Checked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bfedrec report`."""
    parser.description = (
        "Write a run, or a sweep's runs, as one HTML file that needs nothing beside it: config, "
        "figures, tables, chain, audit, versions and how to reproduce it. The same folder gives "
        "the same bytes. A chain that fails its audit is reported so, with exit status 1."
    )
    parser.add_argument(
        "run", metavar="RUN|SWEEP", type=Path, help="a run folder, or a folder of runs"
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write: .html")
    parser.add_argument(
        "--no-audit",
        action="store_true",
        help="leave out the audit of the chain, which may take as long as the run",
    )
    parser.set_defaults(handler=report_command)


def report_command(parsed: argparse.Namespace) -> int:
    """Write the file and print its size; returns the exit status."""
    from bfedrec.config.yaml_core import COMMAND_LINE, ConfigError

    out = parsed.out
    if out.suffix != ".html":
        raise ConfigError(f"{COMMAND_LINE}: --out {out}: expected .html")
    if find_spec("jinja2") is None:
        raise ConfigError(f"{COMMAND_LINE}: report: this needs jinja2: pip install 'bfedrec[web]'")
    from bfedrec.files import write_text
    from bfedrec.report.page.facts import is_run, read_run
    from bfedrec.report.page.render import render
    from bfedrec.report.page.run import page_of
    from bfedrec.report.page.sweep import read_sweep, sweep_page, title_of

    folder = parsed.run.resolve()
    wanted = not parsed.no_audit
    if is_run(folder):
        facts = read_run(folder)
        audits = [(facts.name, _checked(folder, facts, wanted))]
        page = page_of(facts, audits[0][1])
    else:
        sweep = read_sweep(folder)
        audits = [(title_of(run), _checked(run.source, None, wanted)) for run in sweep.runs]
        page = sweep_page(sweep, audits)
    text = render(page)
    write_text(out, text)
    print(f"{out}: {len(text.encode()):,} bytes")
    failed = [f"{name}: {each.failure}" for name, each in audits if each.failure]
    for line in failed:
        print(f"{out}: audit failed: {line}", file=sys.stderr)
    return CHECK_FAILED if failed else 0


def _checked(run: Path, facts: RunFacts | None, wanted: bool) -> Checked:
    """The outcome of a run's audit; ``facts``: None for a run that has ended on a ledger."""
    from bfedrec.report.page.facts import UNFINISHED
    from bfedrec.report.page.run import Checked

    if facts is not None and not facts.chained:
        return Checked(None, unmade="there is no chain, as the run was without a ledger")
    if not wanted:
        return Checked(None, unmade="left out by --no-audit")
    if facts is not None and facts.state == UNFINISHED:
        return Checked(None, unmade="the run is not finished; bfedrec audit checks what is there")
    from bfedrec.runs.folder import CHAIN

    if not run.is_dir() or not (run / CHAIN).exists():
        return Checked(None, unmade="the folder holds no chain.sqlite")
    from bfedrec.cli.bar import counted
    from bfedrec.runs.auditing import audited
    from consensus.storage.content import StoreError

    try:
        with counted("audit") as tell:
            found = audited(run, tell=tell)
    except StoreError as error:
        return Checked(None, _placeless(str(error), run))
    unchecked = _placeless(found.unchecked, run)
    return Checked(found.report, _placeless(found.failure, run), unchecked=unchecked)


def _placeless(text: str, run: Path) -> str:
    """A text without the place where the run's folder lies, so that a copy gives the same file."""
    return text.replace(f"{run}/", "").replace(str(run), "the folder")
