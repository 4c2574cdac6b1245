"""The page of a run's users: one user's history, held-out item and list, alone or beside another
run's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from starlette.responses import Response

from bfedrec.explorer.reading import showable
from bfedrec.explorer.recommendations import (
    Scored,
    User,
    check_links,
    check_ranks,
    moved,
    rank_at,
)
from bfedrec.runs.folder import RunError, read_json
from bfedrec.runs.ranks import Ranks
from bfedrec.runs.ranks import read as read_ranks
from bfedrec.web.explorer.visits import Visit

PATIENCE: Final = 6.0
"""Seconds for which a page waits for a run to be scored."""
AGAIN: Final = "3"
"""Seconds after which a page that could not wait is asked for again."""
MOST_SHOWN: Final = 50
"""Users in the list of all."""
MOST_HISTORY: Final = 200
"""Items of a history that are shown."""
MOST_OFFERED: Final = 100
"""Runs that are offered to compare with."""


@dataclass(frozen=True)
class Side:
    """A user in one run."""

    run: str
    user: User
    rank: int | None
    """The rank of the test item among the sampled negatives, from 1 on."""
    full_rank: int | None
    """Its rank among all items that the user never touched."""
    unscored: str
    """The reason that there is no list; empty where there is one."""


def show(visit: Visit) -> Response:
    """The users of a run (``user``: one of them), perhaps beside the same of another run on the
    same data (``with``)."""
    place, other = visit.place(), visit.asked("with", 1000)
    name, recency = visit.asked("user"), bool(visit.asked("recency"))
    library = visit.explorer.library
    values: dict[str, object] = {"other": other, "user": name, "recency": recency, "notes": []}
    check_links(place)
    scored = library.ask(place, PATIENCE)
    if scored is None:
        return _later(visit, values)
    ranks = check_ranks(read_ranks(place), scored)
    beside, ranks_beside, note = None, None, ""
    if other:
        try:
            there = visit.explorer.places.find(other)
            check_links(there)
            beside = library.ask(there, PATIENCE)
            if beside is None:
                return _later(visit, values)
            if beside.digest != scored.digest:
                raise RunError("it was made on other data, so that its users are not these")
            ranks_beside = check_ranks(read_ranks(there), beside)
        except RunError as error:
            beside, note = None, f"{other} cannot stand beside this run: {error}"
    values |= {
        "notes": [note] if note else [],
        "offered": list(_offered(visit, place, scored.digest)),
        "has_recency": scored.recency,
        "compares": beside is not None,
    }
    chosen = scored.places.get(name.strip())
    if chosen is None:
        values["unknown"] = bool(name)
        values["moved"] = moved(scored, ranks, ranks_beside, MOST_SHOWN)
        values["count"] = len(scored.ids)
        return visit.page("users.html", values, 404 if name else 200)
    sides = [_side(visit.path, scored, ranks, chosen, recency, beside)]
    if beside is not None:
        sides.append(_side(other, beside, ranks_beside, chosen, recency, scored))
    history = sides[0].user.history
    values |= {"sides": sides, "history": history[:MOST_HISTORY], "events": len(history)}
    return visit.page("user.html", values)


def _later(visit: Visit, values: dict[str, object]) -> Response:
    page = visit.page("users_wait.html", values)
    page.headers["Refresh"] = AGAIN
    return page


def _side(
    run: str, scored: Scored, ranks: Ranks | None, place: int, recency: bool, beside: Scored | None
) -> Side:
    user = scored.user(place, recency and scored.recency, beside)
    ordered = recency and scored.recency
    sampled = full = None
    if ranks is not None:
        sampled = ranks.ordered_rank if ordered else ranks.rank
        full = ranks.ordered_full_rank if ordered else ranks.full_rank
    return Side(run, user, rank_at(sampled, place), rank_at(full, place), scored.unscored)


def _offered(visit: Visit, place: Path, digest: str) -> Iterator[str]:
    """The paths of runs beside this one that were made on the same data."""
    places = visit.explorer.places
    for folder in islice(sorted(place.parent.iterdir()), MOST_OFFERED):
        if not showable(folder.name):
            continue
        try:
            name = places.name(folder)
            same = folder != place and places.find(name).is_dir()
            if same and read_json(folder / "manifest.json").get("data_digest") == digest:
                yield name
        except (OSError, RunError, ValueError):
            continue  # no run, or one outside of what is shown
