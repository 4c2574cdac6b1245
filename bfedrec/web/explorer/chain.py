"""The chain explorer: blocks from the head back, one block, and search."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response

from bfedrec.explorer.block import block_facts
from bfedrec.explorer.chain import CHAIN, RunChain
from bfedrec.explorer.search import LONGEST, search
from bfedrec.runs.folder import RunError
from bfedrec.web.explorer.network import timeline_of
from bfedrec.web.explorer.state import Explorer
from bfedrec.web.explorer.visits import Visit
from consensus.simulation.timeline import HeightTimeline
from consensus.storage.content import Busy

PER_PAGE = 50
BUSY = "The run is writing its chain at this moment. Please load the page again."


def chain_of(visit: Visit) -> RunChain:
    """The chain of the run that an address names. Raises RunError as `chain_at`."""
    return chain_at(visit.explorer, visit.place(), visit.path)


def chain_at(explorer: Explorer, place: Path, told: str) -> RunChain:
    """The chain of the run in a folder. Raises RunError, which begins with ``told``, for a run
    without one; its files are read where they are, and through no link."""
    path = place / CHAIN
    if path.is_symlink() or path.with_name(f"{CHAIN}-wal").is_symlink():
        raise RunError(f"{told}: its chain is a link to another place, which is not followed")
    if not path.exists():
        raise RunError(
            f"{told}: there is no chain here: a run has none before its first height, with "
            "store.kind=memory, without a ledger, or as a baseline"
        )
    return explorer.chains.of(place)


def show(visit: Visit) -> Response:
    """The blocks of a chain, the head first; ``from`` is the height that the page begins with."""
    chain = chain_of(visit)
    asked = visit.asked("from", 12)
    top = int(asked) if asked.isascii() and asked.isdigit() else None
    try:
        summary = chain.summary()
        lines = chain.lines(top, PER_PAGE)
    except Busy:
        raise HTTPException(503, BUSY) from None
    chain.follow_ahead()
    first = lines[0].height if lines else 0
    values = {
        "chain": summary,
        "lines": lines,
        "newer": min(first + PER_PAGE, summary.height) if first < summary.height else 0,
        "older": max(first - PER_PAGE, 0),
        "gateway": visit.explorer.gateway,
    }
    return visit.page("chain.html", values)


def show_block(visit: Visit) -> Response:
    """One block."""
    chain, height = chain_of(visit), visit.height()
    try:
        if height == 0:
            return visit.page("genesis.html", {"chain": chain.summary()})
        if height > chain.last_height():
            raise HTTPException(404, f"The chain has no block of height {height} yet.")
        facts = block_facts(chain, height)
        moves = visit.explorer.moves.at(chain, height)
    except Busy:
        raise HTTPException(503, BUSY) from None
    values = {
        "block": facts,
        "moves": moves,
        "gateway": visit.explorer.gateway,
        "timeline": _timeline(visit.place(), height),
    }
    return visit.page("block.html", values)


def _timeline(run: Path, height: int) -> HeightTimeline | None:
    """The timeline of a height as it was played, where the run has it."""
    try:
        return timeline_of(run, height)[1]
    except RunError:
        return None  # runs of earlier versions have none


def show_search(visit: Visit) -> Response:
    """The results of a search in a chain."""
    chain, question = chain_of(visit), visit.asked("q", LONGEST)
    try:
        found = search(chain, question) if question.strip() else None
    except Busy:
        raise HTTPException(503, BUSY) from None
    return visit.page("search.html", {"q": question, "found": found})
