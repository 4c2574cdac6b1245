"""Work that is done before a visitor waits for it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Final

from bfedrec.runs.folder import RunError
from bfedrec.web.assets import assets
from bfedrec.web.explorer.chain import chain_at
from bfedrec.web.explorer.state import Explorer
from bfedrec.web.pages import templates

NEWEST: Final = 2
"""Runs whose chains are followed when the server begins; a thousand blocks take 0.1 s."""
MOST_LOOKED_AT: Final = 50
"""Runs among which those are sought; many have no chain."""


def prepare(explorer: Explorer) -> Thread:
    """Do what the first page of each kind would wait for in a thread of its own: compile templates
    and look at all runs; then, while no page is being answered, follow the chains of the `NEWEST`
    ones and pack the static files."""

    def work() -> None:
        known = templates()
        for name in known.list_templates(filter_func=_is_ours):
            known.get_template(name)
        if explorer.trace is None:
            with suppress(RunError, OSError):
                _look(explorer)
        for each in assets().values():
            explorer.wait_until_idle()
            _ = each.packed, each.digest

    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


def _look(explorer: Explorer) -> None:
    runs = [run for run in explorer.catalogue.look().runs if run.ledger and run.addressable]
    runs.sort(key=lambda run: run.changed, reverse=True)
    left = NEWEST
    for run in runs[:MOST_LOOKED_AT]:
        explorer.wait_until_idle()
        left -= follow(explorer, explorer.places.find(run.address))
        if not left:
            return


def _is_ours(template: str) -> bool:
    return template.startswith("explorer/")


def follow(explorer: Explorer, run: Path) -> bool:
    """Follow the chain of a run's folder: who opens the page of a run may ask for one of its blocks
    next. Returns False if it has none."""
    try:
        chain_at(explorer, run, run.name).follow_ahead()
    except RunError:
        return False
    return True
