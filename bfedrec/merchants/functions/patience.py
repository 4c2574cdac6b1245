"""Connections that are closed where no request comes: uvicorn itself would wait for ever."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_SECONDS: Final = 20.0
"""Seconds in which a request's head has to come, after the connection or after the last answer."""


class PatientConnection(H11Protocol):
    """A connection that may keep the server waiting for a head for `IDLE_SECONDS`, not longer,
    however slowly its bytes come; a request that is being answered is not disturbed."""

    idle_seconds = IDLE_SECONDS
    _seen: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        self._watch = self.loop.call_later(self.idle_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the watch."""
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering and self.cycle is self._seen:
            self.transport.close()
            return
        self._seen = self.cycle
        self._watch = self.loop.call_later(self.idle_seconds, self._look)
