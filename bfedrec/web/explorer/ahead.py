"""Work that is done before a visitor waits for it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Thread

from bfedrec.runs.folder import RunError
from bfedrec.web.assets import assets
from bfedrec.web.explorer.chain import chain_at
from bfedrec.web.explorer.state import Explorer
from bfedrec.web.pages import templates


def prepare(explorer: Explorer) -> Thread:
    """Compile the templates and pack the static files, which the first page of each kind would wait
    for, in a thread of its own; before that, follow the chain, where a single run is shown."""

    def work() -> None:
        if explorer.places.single and explorer.trace is None:
            follow(explorer, explorer.places.root)
        known = templates()
        for name in known.list_templates(filter_func=_is_ours):
            known.get_template(name)
        for each in assets().values():
            _ = each.packed, each.digest

    thread = Thread(target=work, daemon=True)
    thread.start()
    return thread


def _is_ours(template: str) -> bool:
    return template.startswith("explorer/")


def follow(explorer: Explorer, run: Path) -> None:
    """Follow the chain of a run's folder, if it has one: who opens the page of a run may ask for
    one of its blocks next."""
    with suppress(RunError):
        chain_at(explorer, run, run.name).follow_ahead()
