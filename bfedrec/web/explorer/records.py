"""Pages of recorded tables and figures (`bfedrec.explorer.records`)."""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from bfedrec.explorer.records import KINDS
from bfedrec.runs.folder import RunError
from bfedrec.web.explorer.visits import Visit

MEDIA: Final = {
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".png": "image/png",
}


def show(visit: Visit) -> Response:
    """A recorded table, or a figure with its data; a name with an ending is the file itself."""
    kind, name = (visit.request.path_params[part] for part in ("kind", "name"))
    records = visit.explorer.records
    stem, dot, ending = name.partition(".")
    if dot:
        try:
            content = records.content(kind, stem, f".{ending}")
        except RunError as error:
            raise HTTPException(404, str(error)) from None
        return Response(content, media_type=MEDIA[f".{ending}"])
    if name not in records.listed(kind):
        raise HTTPException(404, "there is no such record")
    problem, table = "", None
    try:
        table = records.table(kind, name)
    except RunError as error:
        problem = str(error)
    endings = [each for each in KINDS[kind] if records.has(kind, name, each)]
    values = {"kind": kind, "name": name, "table": table, "problem": problem, "endings": endings}
    values["shortened"] = shortened
    return visit.page("record.html", values)


def shortened(cell: str) -> str:
    """A cell of a table for people: a long decimal with six digits, else as it is."""
    try:
        value = float(cell)
    except ValueError:
        return cell
    return f"{value:.6g}" if "." in cell and len(cell) > 9 else cell
