"""A visit of a page: who asks, with what form, and the answers that every page may give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from bfedrec.web.pages import render

if TYPE_CHECKING:
    from bfedrec.web.portal.state import Portal

SEE_OTHER = 303


@dataclass(frozen=True)
class Visit:
    """One request to a page."""

    request: Request
    portal: Portal
    merchant: str | None
    """Who is logged in; no page takes a merchant's name from anywhere else."""
    token: str
    """The token for the forms of the page."""
    form: FormData

    @property
    def name(self) -> str:
        """The merchant who is logged in, on pages that are shown to nobody else."""
        assert self.merchant is not None
        return self.merchant

    def text(self, field: str) -> str:
        """A field of the form; an empty text if it is absent or a file."""
        value = self.form.get(field, "")
        return value if isinstance(value, str) else ""

    def file(self, field: str) -> UploadFile | None:
        """A file of the form."""
        value = self.form.get(field)
        return value if isinstance(value, UploadFile) else None

    def page(
        self, template: str, values: Mapping[str, object] | None = None, status: int = 200
    ) -> HTMLResponse:
        """A page from a template."""
        shared = {"merchant": self.merchant, "token": self.token, "path": self.request.url.path}
        return HTMLResponse(render(template, {"refresh": 0, **shared, **(values or {})}), status)


def go(path: str) -> Response:
    """A redirection to a page of ours after a form."""
    return RedirectResponse(path, SEE_OTHER)
