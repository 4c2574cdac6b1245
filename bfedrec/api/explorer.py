"""The explorer's pages of one run, served from a thread of the program that asks for them."""

from __future__ import annotations

from html import escape
from pathlib import Path
from threading import Thread

from consensus.storage.closing import Closing


class Explorer(Closing):
    """A server on loopback with the pages of a run."""

    def __init__(self, run: Path, open_browser: bool) -> None:
        """Raises `bfedrec.config.yaml_core.ConfigError` where the packages of the pages are not
        installed."""
        from bfedrec.web.explorer.serving import explorer_of  # needs the packages of pages

        explorer = explorer_of(run)
        from bfedrec.connections import listen, server
        from bfedrec.web.explorer.app import application

        listening = listen()
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        """The address of its first page."""
        self._server = server(application(explorer))
        self._thread = Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        if open_browser:
            import webbrowser

            webbrowser.open(self.url)

    def close(self) -> None:
        """Serve no longer."""
        self._server.should_exit = True
        self._thread.join()

    def __repr__(self) -> str:
        return f"<bfedrec explorer at {self.url}>"

    def _repr_html_(self) -> str:
        url = escape(self.url, quote=True)
        return f'<a href="{url}" target="_blank">{url}</a>'
