"""Files that pages name: our style sheet, script and mark, and Plotly's script from its wheel.

Each is served under a path that holds the digest of its content, and may be kept for ever.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

PREFIX: Final = "/static"
OURS: Final = ("style.css", "script.js", "mark.svg")
PLOTLY: Final = "plotly.min.js"
FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """One file."""

    name: str
    content: bytes

    @cached_property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of its SHA-256."""
        return hashlib.sha256(self.content).hexdigest()[:16]

    @cached_property
    def packed(self) -> bytes:
        """Its content as gzip."""
        return gzip.compress(self.content, 6, mtime=0)

    @property
    def url(self) -> str:
        """The path under which it is served."""
        return f"{PREFIX}/{self.digest}/{self.name}"


@cache
def style_ids() -> Sequence[str]:
    """The ids of style elements that Plotly's script adds to a page unless they are there.

    Our policy forbids the elements, and what they hold is for maps: a page that has something
    else under these ids is left alone.
    """
    found = re.findall(rb'getElementById\("([0-9a-f]{64})"\)', assets()[PLOTLY].content)
    return sorted({each.decode() for each in found})


@cache
def assets() -> Mapping[str, Asset]:
    """All files by their names; nothing else is served, whatever a path says."""
    folder = files("bfedrec.web") / "static"
    found = [Asset(name, (folder / name).read_bytes()) for name in OURS]
    script = Path(str(files("plotly") / "package_data" / PLOTLY))
    return {each.name: each for each in [*found, Asset(PLOTLY, script.read_bytes())]}


def serve(request: Request) -> Response:
    """The file that a path `/static/DIGEST/NAME` names."""
    asset = assets().get(request.path_params["name"])
    if asset is None or asset.digest != request.path_params["digest"]:
        raise HTTPException(404)
    kind = "text/javascript" if asset.name.endswith(".js") else mimetypes.guess_type(asset.name)[0]
    headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
    packed = "gzip" in request.headers.get("accept-encoding", "")
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(asset.packed if packed else asset.content, media_type=kind, headers=headers)
