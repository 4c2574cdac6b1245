"""A run's page told what changes: while the run goes on, over a resume, and to its end."""

from __future__ import annotations

import fcntl
import gc
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from bfedrec.web.explorer import live
from bfedrec.web.explorer.app import application
from bfedrec.web.explorer.serving import explorer_of
from bfedrec.web.explorer.state import LISTENERS, Explorer
from bfedrec.web.explorer.visits import Visit
from tests.helpers import shown
from tests.helpers.timelines import TIMELINE
from tests.helpers.web import PATIENCE, Client, serving


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(live, "WAIT_SECONDS", 0.01)


class Stream:
    """The events of a run's page, as a browser gets them."""

    def __init__(self, port: int, path: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._connection.request("GET", path)
        self._response = self._connection.getresponse()
        self.page: dict[str, str] = {}
        """The fragments as they stand in the page, by their ids."""
        assert self._response.status == 200
        assert self._response.headers["Content-Type"].startswith("text/event-stream")

    def event(self) -> tuple[str, dict[str, str]]:
        """The next event: its kind, and its data."""
        kind, data = "", ""
        while line := self._response.readline().decode():
            name, _, value = line.rstrip("\r\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data = value
            elif kind and not name:
                return kind, json.loads(data) if data else {}
        return "", {}

    def until(self, id: str, text: str) -> str:
        """The HTML of the fragment ``id`` as soon as the page has one with a text."""
        while text not in self.page.get(id, ""):
            kind, data = self.event()
            assert kind in ("fragment", "figure"), "the events have ended"
            self.page[data["id"]] = data.get("html", "")
        return self.page[id]

    def close(self) -> None:
        self._response.close()
        self._connection.close()


@contextmanager
def told(explorer: Explorer, path: str) -> Iterator[Stream]:
    with serving(application(explorer)) as port:
        stream = Stream(port, path)
        try:
            yield stream
        finally:
            stream.close()


def hold(run: Path) -> IO[str]:
    lock = (run / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def append(run: Path, height: int) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(shown.lines_of([shown.line(height)]))


def test_a_page_follows_a_run_over_its_interruption_and_resume_to_its_end(tmp_path: Path) -> None:
    run = shown.write_run(tmp_path / "run", lines=[shown.line(1)])
    lock = hold(run)
    with told(explorer_of(tmp_path), "/live/run") as stream:
        first = stream.until("part-state", "running")
        assert "1 of 6" in first
        append(run, 2)
        assert "2 of 6" in stream.until("part-state", "2 of 6")
        assert "0.0200" in stream.until("part-rounds", "0.0200")
        lock.close()
        assert "--resume" in stream.until("part-state", "interrupted")
        manifest = json.loads((run / "manifest.json").read_text())
        manifest["resumes"] = [{"resumed": "2026-02-02T00:00:00+00:00"}]
        (run / "manifest.json").write_text(json.dumps(manifest))
        assert "2026-02-02" in stream.until("part-manifest", "Resumed")
        with hold(run):
            stream.until("part-state", "running")
            append(run, 3)
            stream.until("part-state", "3 of 6")
            (run / "summary.json").write_text(json.dumps(shown.summary()))
            stream.until("part-state", "done")
            assert "0.1250" in stream.until("part-scores", "all items")
        kinds = []
        while "done" not in kinds:
            kinds.append(stream.event()[0])
        assert stream.event() == ("", {})


def test_every_height_of_a_run_in_progress_is_told(tmp_path: Path) -> None:
    run = shown.write_run(tmp_path / "run", lines=[])
    with hold(run), told(explorer_of(tmp_path), "/live/run") as stream:
        stream.until("part-heights", "no timelines")
        (run / "timeline.jsonl").write_text(f"{TIMELINE.line()}\n")
        found = stream.until("part-heights", "/timeline/7/run")
        assert "8.50 s" in found
        assert "closed by all" in found
        assert TIMELINE.figures is not None
        assert next(iter(TIMELINE.figures.refused)) in stream.until("part-costs", "Refused")


def test_only_what_changed_is_sent(tmp_path: Path) -> None:
    from starlette.requests import Request

    from bfedrec.web.explorer.visits import Visit

    run = shown.write_run(tmp_path / "run")
    lock = hold(run)
    explorer = explorer_of(tmp_path)
    scope = {"type": "http", "path_params": {"run": "run"}, "headers": [], "query_string": b""}
    changes = live.Changes(Visit(Request(scope), explorer))

    def sent() -> list[str]:
        return [json.loads(str(event.data))["id"] for event in changes.look()]

    assert sent() == [
        *(f"part-{name}" for name in ("state", "scores", "costs", "rounds", "heights", "manifest")),
        "chart-scores",
        "chart-costs",
    ]
    append(run, 5)
    # The charts, which are long, come with every other look while the run goes on.
    assert sent() == ["part-state", "part-scores", "part-costs", "part-rounds"]
    assert sent() == ["chart-scores", "chart-costs"]
    assert sent() == []
    assert sent() == []
    append(run, 6)
    lock.close()
    assert "chart-scores" in sent()  # at once, when it ends
    assert not changes.going


def test_a_run_that_is_done_ends_at_once(tmp_path: Path) -> None:
    shown.write_run(tmp_path / "run", end=shown.summary())
    with shown.served(tmp_path) as client:
        assert client.get("/live/run").text.rstrip().endswith("event: done\r\ndata:")
        assert client.get("/live/none").status == 404


def test_listeners_are_bounded_and_counted_down(tmp_path: Path) -> None:
    shown.write_run(tmp_path / "run", end=shown.summary())
    explorer = explorer_of(tmp_path)
    held = [explorer.listening() for _ in range(LISTENERS)]
    for each in held:
        each.__enter__()
    with serving(application(explorer)) as port:
        client = Client(port)
        assert client.get("/live/run").status == 429
        held.pop().__exit__(None, None, None)
        for _ in range(3):
            assert client.get("/live/run").status == 200
    assert explorer._listeners == LISTENERS - 1


def test_listeners_that_come_together_are_counted_as_they_are_answered(tmp_path: Path) -> None:
    shown.write_run(tmp_path / "run")
    visit = Visit(Request({"type": "http", "path_params": {"run": "run"}}), explorer_of(tmp_path))
    held = [live.live(visit) for _ in range(LISTENERS)]  # none has begun to be sent
    with pytest.raises(HTTPException) as refused:
        live.live(visit)
    assert refused.value.status_code == 429
    held.pop()  # and never will be
    gc.collect()
    live.live(visit)


def test_a_folder_that_goes_away_ends_the_events(tmp_path: Path) -> None:
    run = shown.write_run(tmp_path / "run")
    with told(explorer_of(tmp_path), "/live/run") as stream:
        stream.until("part-state", "interrupted")
        run.rename(tmp_path / "elsewhere")
        while stream.event()[0]:
            pass
