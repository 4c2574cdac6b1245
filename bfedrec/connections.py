"""HTTP connections that end where no request comes: uvicorn itself would wait for ever."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_SECONDS: Final = 15.0
"""Seconds in which a request's head has to come, after the connection or after the last answer."""


class PatientConnection(H11Protocol):
    """A connection that is closed if it begins no request in `IDLE_SECONDS`, however slowly its
    bytes come; a request that is being answered is not disturbed.

    uvicorn's own timer runs between requests alone and begins anew with every byte: a connection
    that sends a header letter by letter would stay for ever.
    """

    idle_seconds = IDLE_SECONDS
    _seen: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        self._watch = self.loop.call_later(self.idle_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no longer."""
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering and self.cycle is self._seen:
            self.transport.close()
            return
        self._seen = self.cycle
        self._watch = self.loop.call_later(self.idle_seconds, self._look)
