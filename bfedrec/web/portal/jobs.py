"""Jobs of merchants: training and rounds, in threads of the portal, one at a time of each merchant.

What has been done is told by the chain and the merchant's workspace, and not here: a job that a
killed portal left is begun again and passes over the steps that are done. A file in the workspace
says that there is one to begin again.
"""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bfedrec.files import write_bytes

WANTED: Final = "portal-job.json"
MOST_STEPS: Final = 40
"""Steps of a job that a page shows; of more, the latest."""

Tell = Callable[[str, str, str], None]
"""Takes a step's name, its state and its detail."""


class Busy(Exception):
    """Error: a merchant's job is running already."""


@dataclass(frozen=True)
class StepTold:
    """One step of a job as pages show it."""

    name: str
    state: str
    detail: str

    @property
    def mark(self) -> str:
        """Its class in the style sheet."""
        return {"begun": "now"}.get(self.state, self.state)


@dataclass(frozen=True)
class Progress:
    """The state of a merchant's latest job."""

    kind: str = ""
    running: bool = False
    problem: str = ""
    """One line on why it ended, or an empty text."""
    steps: tuple[StepTold, ...] = ()
    version: int = 0
    """Greater after every change."""

    def told(self, step: StepTold) -> Progress:
        """The state after a step, whose end replaces its beginning."""
        ended = step.state in ("done", "failed")
        kept = [
            each
            for each in self.steps
            if not (ended and each.name == step.name and each.state == "begun")
        ]
        return replace(self, steps=(*kept, step)[-MOST_STEPS:], version=self.version + 1)


@dataclass(frozen=True)
class Task:
    """Something that a merchant can have done."""

    title: str
    play: Callable[[Tell], None]
    """Does it, step by step; may be repeated after it was broken off anywhere."""
    problems: tuple[type[Exception], ...] = field(default=())
    """Exceptions that are one line for people."""
    text: Callable[[BaseException], str] = str
    """The text of such an exception as people may see it."""


class Jobs:
    """The jobs of all merchants."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="job")
        self._lock = threading.Lock()
        self._progress: dict[str, Progress] = {}

    def progress(self, merchant: str) -> Progress:
        """The state of a merchant's latest job."""
        with self._lock:
            return self._progress.get(merchant, Progress())

    def start(self, merchant: str, folder: Path, kind: str, task: Task) -> None:
        """Begin a job; ``kind`` names it in the file of the workspace. Raises Busy, and
        OSError where that file cannot be written."""
        with self._lock:
            before = self._progress.get(merchant, Progress())
            if before.running:
                raise Busy(f"{before.kind} is running; please wait until it is done")
            self._progress[merchant] = Progress(task.title, True, version=before.version + 1)
        try:
            write_bytes(folder / WANTED, json.dumps({"kind": kind}).encode())
            self._pool.submit(self._play, merchant, folder, task)
        except BaseException:
            problem = "the portal could not begin it; please try again"
            self._change(merchant, lambda now: _ended(now, problem))
            raise

    def close(self) -> None:
        """Take no more jobs, and wait for those that are running."""
        self._pool.shutdown(cancel_futures=True)

    def _play(self, merchant: str, folder: Path, task: Task) -> None:
        problem = ""

        def tell(name: str, state: str, detail: str) -> None:
            self._change(merchant, lambda now: now.told(StepTold(name, state, detail)))

        try:
            task.play(tell)
        except task.problems as error:
            problem = " ".join(task.text(error).split()) or type(error).__name__
        except Exception:
            traceback.print_exc()
            problem = "an error of this portal, which has been noted; please try again"
        try:
            (folder / WANTED).unlink(missing_ok=True)
        except OSError:  # another life of the portal begins it again, and finds it done
            traceback.print_exc()
        self._change(merchant, lambda now: _ended(now, problem))

    def _change(self, merchant: str, change: Callable[[Progress], Progress]) -> None:
        with self._lock:
            self._progress[merchant] = change(self._progress.get(merchant, Progress()))


def left_by_another_life(folder: Path) -> str | None:
    """The kind of the job that a killed portal left in a workspace."""
    try:
        found = json.loads((folder / WANTED).read_bytes())
        return str(found["kind"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ended(now: Progress, problem: str) -> Progress:
    """The state at the end; a step in the middle of which a job failed has failed."""
    steps = now.steps
    if problem and steps and steps[-1].mark == "now":
        steps = (*steps[:-1], replace(steps[-1], state="failed"))
    return replace(now, running=False, problem=problem, steps=steps, version=now.version + 1)
