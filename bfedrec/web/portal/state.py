"""The state of a running portal: accounts, sessions, limits, and the market that its pages show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypedDict
from urllib.parse import urlsplit

from bfedrec.web.accounts import Accounts
from bfedrec.web.limits import Limit
from bfedrec.web.portal.market import Market
from bfedrec.web.sessions import Sessions

ACCOUNTS: Final = "accounts.json"
MINUTES: Final = 60.0
LISTENERS: Final = 6
"""Pages of one merchant that are told live at once."""


AT_ONCE: Final = 8
"""Requests of one merchant that are answered at once: no merchant has all threads."""


class CookieSettings(TypedDict):
    """Settings of every cookie: no script reads it, and no other site's page sends it."""

    httponly: bool
    secure: bool
    samesite: Literal["strict"]
    path: str


class Portal:
    """Everything that pages need; one for a server."""

    def __init__(self, market: Market, folder: Path, port: int, origin: str = "") -> None:
        """``origin``: where browsers find the portal if that is not its port of loopback, as
        `https://shops.example`; a proxy there passes requests on."""
        self.market = market
        self.accounts = Accounts(folder / ACCOUNTS)
        self.sessions = Sessions()
        self.by_pair = Limit(5, 5 * MINUTES)
        """Log-ins as one merchant from one address."""
        self.by_name = Limit(100, 15 * MINUTES)
        self.by_address = Limit(60, 5 * MINUTES)
        self.listeners: dict[str, int] = {}
        self.at_work: dict[str, int] = {}
        """Requests of each merchant that are being answered."""
        origins = [origin] if origin else [f"http://{each}:{port}" for each in _LOCAL]
        self.origins: Sequence[str] = origins
        self.hosts: Sequence[str] = [urlsplit(each).netloc for each in origins]
        self.https = origin.startswith("https://")
        prefix = "__Host-" if self.https else ""
        self.cookie = f"{prefix}session"
        self.stranger_cookie = f"{prefix}stranger"
        """The cookie to which the token of the log-in form belongs."""
        self.cookie_settings: CookieSettings = {
            "httponly": True,
            "secure": self.https,
            "samesite": "strict",
            "path": "/",
        }

    @property
    def merchants(self) -> Sequence[str]:
        """The names of all merchants."""
        return self.market.merchants

    def visitor(self, cookie: str, *, touch: bool = True) -> tuple[str | None, bool]:
        """The merchant of a session's cookie, or None, and True if its password is a one-time one.

        A session ends with the password that it was begun with.
        """
        session = self.sessions.find(cookie, touch=touch)
        account = self.accounts.all().get(session.name) if session else None
        if session is None or account is None or account.mark != session.mark:
            return None, False
        return (session.name, account.one_time) if session.name in self.merchants else (None, False)


_LOCAL: Final = ("127.0.0.1", "localhost")
