"""Times a run that is watched in the explorer beside the same run that is not, in pairs.

    python -m tests.bench.watched --heights 100 --pairs 7

A run of thirty servers is played in a process of its own: in turns alone, and below a folder that
`bfedrec serve` shows to a visitor whose page of the run is told live and who opens its chain, its
last block and its page in turns, every few seconds. Told are the medians of the pairs' ratios
(watched to alone) as in `tests.bench.paired`: of the wall clock, and of the processor time of the
run's own process. On a machine with few cores the server takes its share of them, which shows in
the wall clock alone; what it took is told last.
"""

from __future__ import annotations

import argparse
import http.client
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.command import Ended, played
from tests.bench.long_run import config
from tests.bench.paired import compare
from tests.bench.served import PATIENCE, Served, serving

EVERY: Final = 3.0
"""Seconds between two pages that the visitor opens."""


class Visitor:
    """A visitor of the run ``RUNS/watched``, in threads of its own."""

    def __init__(self, server: Served) -> None:
        self._server = server
        self._gone = threading.Event()
        self.pages = self.events = 0
        self._threads = [threading.Thread(target=each) for each in (self._open, self._listen)]
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        """End the visit."""
        self._gone.set()
        for thread in self._threads:
            thread.join()

    def _open(self) -> None:
        last = 1
        while not self._gone.wait(EVERY / 3):
            for path in ("/chain/watched", f"/block/{last}/watched", "/run/watched"):
                answer = self._server.get(path)
                found = re.search(rb'href="/block/(\d+)/watched', answer.body)
                last = int(found[1]) if found and path.startswith("/chain") else last
                self.pages += answer.status == 200
                if self._gone.wait(EVERY):
                    return

    def _listen(self) -> None:
        while not self._gone.wait(0.2):
            connection = http.client.HTTPConnection(
                "127.0.0.1", self._server.port, timeout=PATIENCE
            )
            try:
                connection.request("GET", "/live/watched")
                response = connection.getresponse()
                while response.status == 200 and not self._gone.is_set():
                    line = response.readline()
                    self.events += line.startswith(b"event:")
                    if not line or line.strip() == b"event: done":
                        break
            finally:
                connection.close()


@contextmanager
def watching(folder: Path) -> Iterator[None]:
    """A server of the folder with a visitor; tells at its end what it took."""
    with serving(folder) as server:
        server.settle()
        before, visitor = server.processor, Visitor(server)
        try:
            yield
        finally:
            visitor.leave()
        print(
            f"  watched: {visitor.pages} pages, {visitor.events} events, "
            f"{server.processor - before:.2f} s of processors, {server.megabytes:.0f} MB"
        )
        if not visitor.pages or not visitor.events:
            raise SystemExit("the run was too short to be watched: take more --heights")


def play(heights: int, watched: bool) -> Ended:
    """Play the run once."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "runs"
        folder.mkdir()
        words = ["run", config(folder.with_suffix(".yaml"), heights), "--out", folder / "watched"]
        if watched:
            with watching(folder):
                ended = played(words)
        else:
            ended = played(words)
    if ended.status:
        raise SystemExit(ended.said[-2000:])
    return ended


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--heights", type=int, default=150, help="default: 150")
    parser.add_argument("--pairs", type=int, default=7, help="default: 7")
    options = parser.parse_args()
    play(2, watched=False)  # compiles
    compare((True, False), lambda watched: play(options.heights, watched), options.pairs)


if __name__ == "__main__":
    main()
