"""Sessions of those who are logged in, kept by the server, and the tokens against forged requests.

The cookie holds a random name and nothing else; sessions are kept by the digest of that name and
end with the process. The token of a form is a keyed digest of the cookie: a page of another origin
can send the cookie, but can read neither it nor the form.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

IDLE_SECONDS: Final = 3600.0
"""Seconds without a request after which a session ends."""
LONGEST_SECONDS: Final = 12 * 3600.0
MOST_OF_ONE: Final = 10
"""Sessions of one name; of more, the oldest ends."""


@dataclass
class Session:
    """One log-in."""

    name: str
    """The account that logged in."""
    mark: str
    """The account's mark at log-in; a session of an older password is none."""
    begun: float
    used: float


class Sessions:
    """All sessions of a server; for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._turn = threading.Lock()
        self._sessions: dict[bytes, Session] = {}

    def begin(self, name: str, mark: str) -> str:
        """Begin a session under a new random name, which is returned for the cookie."""
        cookie = secrets.token_urlsafe(32)
        with self._turn:
            self._sweep()
            own = [key for key, one in self._sessions.items() if one.name == name]
            for key in own[: max(0, len(own) - MOST_OF_ONE + 1)]:
                del self._sessions[key]
            now = self._clock()
            self._sessions[_digest(cookie)] = Session(name, mark, now, now)
        return cookie

    def find(self, cookie: str, *, touch: bool = True) -> Session | None:
        """The session of a cookie, unless it has expired; ``touch``: it counts as used now."""
        with self._turn:
            session = self._sessions.get(_digest(cookie))
            if session is None or self._expired(session):
                return None
            if touch:
                session.used = self._clock()
            return session

    def end(self, cookie: str) -> None:
        """End the session of a cookie."""
        with self._turn:
            self._sessions.pop(_digest(cookie), None)

    def end_all(self, name: str) -> None:
        """End all sessions of a name."""
        with self._turn:
            self._sessions = {key: one for key, one in self._sessions.items() if one.name != name}

    def token(self, cookie: str) -> str:
        """The token of forms that are shown to whoever has this cookie."""
        return hmac.new(self._key, cookie.encode(), hashlib.sha256).hexdigest()

    def genuine(self, cookie: str, token: str) -> bool:
        """True for the token of this cookie."""
        return bool(cookie) and hmac.compare_digest(self.token(cookie).encode(), token.encode())

    def _expired(self, session: Session) -> bool:
        now = self._clock()
        return session.used + IDLE_SECONDS <= now or session.begun + LONGEST_SECONDS <= now

    def _sweep(self) -> None:
        self._sessions = {key: one for key, one in self._sessions.items() if not self._expired(one)}


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "surrogateescape")).digest()
