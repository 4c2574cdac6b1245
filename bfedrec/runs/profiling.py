"""The profile of a run: its real time by part, of the main thread and of the threads beside it.

Nothing is measured unless a `Profile` is entered. It then stands in for the entry points of every
part (`PARTS`) and puts them back when it is left, so that a run without a profile has no branch, no
call and no clock more. The time of a part is exclusive: that of its entry points, without that of
other parts' entry points below them. Every thread has an account of its own. The seconds of the
main thread, with those that no part claims (`REST`), therefore sum to the whole. The other threads
work at the same time: theirs stand beside, and are in no sum.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import timeit
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from bfedrec.federation.forked_trainer import ACCOUNTS
from bfedrec.runs.figures import PROFILE, Scalar

SETUP: Final = "setup"
REST: Final = "rest"
GARBAGE: Final = "garbage"
IDLE: Final = ""
"""The state of another thread outside of all parts: it is not counted."""
ROUND: Final = "bfedrec.runs.state:RunState.append"
"""The entry point that every round calls once, on a ledger or without."""


@dataclass(frozen=True)
class Part:
    """A part of a run's time."""

    label: str
    """Its name for people."""
    points: tuple[str, ...] = ()
    """Its entry points, as "module:function" or "module:object.attribute"."""


def _points(module: str, *names: str) -> tuple[str, ...]:
    """The entry points ``names`` of a module."""
    return tuple(f"{module}:{name}" for name in names)


_SUITES: Final = "consensus.crypto.suites"

PARTS: Final[dict[str, Part]] = {
    "training": Part(
        "client training",
        (
            *_points("bfedrec.federation.cohorts", "Cohorts.train"),
            *_points("bfedrec.federation.learner", "Learner.train"),
        ),
    ),
    "waiting": Part(
        "waiting for training",
        _points("bfedrec.federation.round_training", "RoundTraining.sent", "RoundTraining.finish"),
    ),
    "compression": Part(
        "compression, checks of payloads",
        (
            *_points(
                "bfedrec.compression.exchange",
                "Exchange.encode",
                "Exchange.encode_unwritten",
                "Exchange.check",
            ),
            *_points("bfedrec.compression.error_feedback", "ErrorFeedback.sent"),
        ),
    ),
    "sign": Part(
        "signatures",
        (
            *_points("consensus.crypto.keys", "SigningKey.sign"),
            *_points(_SUITES, "_ModelledSigner.sign"),
        ),
    ),
    "verify": Part("signature checks", _points(_SUITES, "REAL.verify", "MODELLED.verify")),
    "vrf_prove": Part(
        "VRF proofs",
        (*_points("consensus.crypto.vrf", "VrfKey.prove"), f"{_SUITES}:_ModelledProver.prove"),
    ),
    "vrf_verify": Part("VRF checks", _points(_SUITES, "REAL.vrf_verify", "MODELLED.vrf_verify")),
    "encoding": Part(
        "hashing, encoding of records",
        (
            *_points("bfedrec.federation.uplink", "Uplink.sign"),
            *_points("consensus.encoding.cid", "digest"),
            *_points("consensus.encoding.dag_cbor", "encode", "merkle_root"),
            *_points("consensus.encoding.unixfs", "file_cid", "file_blocks"),
        ),
    ),
    "aggregation": Part(
        "aggregation, merging into Q",
        _points(
            "bfedrec.federation.global_model",
            "GlobalModel.aggregate",
            "GlobalModel.basis",
            "GlobalModel.commit",
            "GlobalModel.snapshot",
        ),
    ),
    "network": Part(
        "network, event queue",
        (
            *_points("consensus.simulation.world", "World.run_height"),
            *_points("consensus.simulation.host", "WorldHost.gossip", "WorldHost.send"),
        ),
    ),
    "protocol": Part(
        "server protocol logic",
        _points(
            "consensus.server.edge_server",
            "EdgeServer.enter_height",
            "EdgeServer.on_timer",
            "EdgeServer.passes_on",
            "EdgeServer.receive",
        ),
    ),
    "scoring": Part(
        "scoring",
        _points("bfedrec.runs.reporting", "Reporting.validate", "Reporting.finish"),
    ),
    "storage": Part(
        "storage",
        (
            ROUND,
            *_points(
                "bfedrec.runs.chain_writer",
                "ChainWriter.begin",
                "ChainWriter.finish",
                "ChainWriter.write",
            ),
            *_points("bfedrec.runs.timelines", "append_timeline"),
            *_points(
                "bfedrec.runs.folder",
                "RunFolder.append_metrics",
                "RunFolder.write_ranks",
                "RunFolder.write_tensors",
            ),
        ),
    ),
    SETUP: Part(
        "set-up",
        (
            *_points("bfedrec.runs.simulation", "Simulation.__init__"),
            *_points("bfedrec.runs.learning", "Learning.__init__"),
        ),
    ),
    GARBAGE: Part("collecting garbage"),
    REST: Part("the rest"),
}
"""The parts of a run. What `World.run_height` does outside of other parts is network and event
queue; of collections the interpreter itself tells."""


@dataclass
class _Account:
    """The times of one thread."""

    wall: Callable[[], float]
    processor: Callable[[], float] | None
    """Processor time of the thread; None where it is not read at every change of part."""
    part: str
    """The part that runs."""

    def __post_init__(self) -> None:
        self.seconds = dict.fromkeys((*PARTS, IDLE), 0.0)
        self.processor_seconds = dict.fromkeys((*PARTS, IDLE), 0.0)
        self.calls = {point: 0 for part in PARTS.values() for point in (*part.points, GARBAGE)}
        """Number of calls by entry point, and of collections."""
        self.interrupted = IDLE
        """The part in which a collection began."""
        self.since = self.wall()
        self.used = self.processor() if self.processor is not None else 0.0

    def go_to(self, part: str) -> None:
        """Charge the time since the last change to the part that ran; ``part`` runs now."""
        now = self.wall()
        self.seconds[self.part] += now - self.since
        self.since = now
        if self.processor is not None:
            used = self.processor()
            self.processor_seconds[self.part] += used - self.used
            self.used = used
        self.part = part


class _Here(threading.local):
    """The account of the thread that asks, opened when it first asks."""

    def __init__(self, opened: Callable[[], _Account]) -> None:
        self.account = opened()


class Profile:
    """The measuring of one run: a context manager around it, for the thread that makes it.

    Clocks: ``wall``, in seconds, and ``processor``, the processor seconds of the thread that asks.
    The other threads read both at every change of part. The main thread reads the first alone: it
    changes its part some thousand times a round, and to read the second takes longer than many of
    these calls.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.perf_counter,
        processor: Callable[[], float] = time.thread_time,
    ) -> None:
        self._wall = wall
        self._processor = processor
        self._main = _Account(wall, None, SETUP)
        self._others: list[_Account] = []
        self._thread = threading.get_ident()
        self._here = _Here(self._opened)
        self._stack = ExitStack()
        self._main_processor = 0.0
        self._processors = 0.0

    def _opened(self) -> _Account:
        if threading.get_ident() == self._thread:
            return self._main
        self._others.append(_Account(self._wall, self._processor, IDLE))
        return self._others[-1]

    def __enter__(self) -> Profile:
        """Begin: load all that a run needs, and stand in for the entry points."""
        self._main_processor -= self._processor()
        self._processors -= time.process_time()
        # All modules are loaded before anything is replaced, or later ones would import stand-ins.
        found = [
            (name, point, *held_at(point)) for name, part in PARTS.items() for point in part.points
        ]
        for part, point, owner, name, original in found:
            stand_in = self._timed(part, point, original)
            self._stack.callback(_replace, owner, name, stand_in, original)
            _replace(owner, name, original, stand_in)
        self._stack.callback(gc.callbacks.remove, self._collecting)
        gc.callbacks.append(self._collecting)
        self._stack.callback(ACCOUNTS.remove, self)
        ACCOUNTS.append(self)
        self._main.go_to(REST)
        return self

    def __exit__(self, *exception: object) -> None:
        """Put all entry points back, and end."""
        self._stack.close()
        self._main.go_to(REST)
        self._main_processor += self._processor()
        self._processors += time.process_time()

    # -- the forked process (`bfedrec.federation.forked_trainer.Account`) -------------------------

    def forked(self) -> None:
        """Keep an account of this process alone."""
        self._others.clear()
        self._processors = -time.process_time()

    def told(self) -> tuple[float, list[tuple[dict[str, float], dict[str, float], dict[str, int]]]]:
        """The processor seconds of this process, and the accounts of its threads."""
        accounts = [(each.seconds, each.processor_seconds, each.calls) for each in self._others]
        return self._processors + time.process_time(), accounts

    def add(
        self, told: tuple[float, list[tuple[dict[str, float], dict[str, float], dict[str, int]]]]
    ) -> None:
        """Add the threads of another process to those of this one."""
        self._processors += told[0]
        for account in told[1]:
            one = _Account(self._wall, self._processor, IDLE)
            one.seconds, one.processor_seconds, one.calls = account
            self._others.append(one)

    def _timed(self, part: str, point: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, an entry point of ``part``, charged to it."""
        here, main, wall = self._here, self._main, self._wall
        owner, thread = self._thread, threading.get_ident

        def elsewhere(*args: Any, **kwargs: Any) -> Any:
            account = here.account
            account.calls[point] += 1
            outer = account.part
            account.go_to(part)
            try:
                return function(*args, **kwargs)
            finally:
                account.go_to(outer)

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if thread() != owner:
                return elsewhere(*args, **kwargs)
            # `go_to` written out twice: a call takes as long as many an entry point.
            main.calls[point] += 1
            outer = main.part
            if outer == part:
                return function(*args, **kwargs)
            now = wall()
            main.seconds[outer] += now - main.since
            main.since, main.part = now, part
            try:
                return function(*args, **kwargs)
            finally:
                now = wall()
                main.seconds[part] += now - main.since
                main.since, main.part = now, outer

        return timed

    def _collecting(self, phase: str, _: object) -> None:
        """Charge a collection of garbage, which the interpreter begins and ends anywhere."""
        account = self._here.account
        if phase == "start":
            account.calls[GARBAGE] += 1
            account.interrupted = account.part
            account.go_to(GARBAGE)
        else:
            account.go_to(account.interrupted)

    # -- results ----------------------------------------------------------------------------------

    def calls(self) -> dict[str, int]:
        """Number of calls by entry point, and of collections, of all threads."""
        accounts = (self._main, *self._others)
        return {
            point: sum(account.calls[point] for account in accounts) for point in self._main.calls
        }

    def figures(self) -> dict[str, Scalar]:
        """The figures of the profile in a summary, each name with `PROFILE`.

        Of the whole: rounds, ``seconds`` of the main thread, processor seconds of all threads and
        of the main one, and ``cost_seconds``, what the measuring itself took of the main thread's,
        about. Of each part that ran: seconds of the main thread, calls, and the seconds and
        processor seconds of the other threads ``beside`` it.
        """
        calls, main = self.calls(), self._main
        found: dict[str, Scalar] = {
            "rounds": calls[ROUND],
            "seconds": sum(main.seconds.values()),
            "processor_seconds": self._processors,
            "main_processor_seconds": self._main_processor,
            "cost_seconds": self._cost() * sum(main.calls.values()),
        }
        for name, part in PARTS.items():
            times = {
                "seconds": main.seconds[name],
                "calls": sum(calls[at] for at in part.points) + calls.get(name, 0),
                "beside_seconds": sum(one.seconds[name] for one in self._others),
                "beside_processor_seconds": sum(
                    one.processor_seconds[name] for one in self._others
                ),
            }
            if any(times.values()):
                found |= {f"{name}_{what}": value for what, value in times.items()}
        return {PROFILE + name: value for name, value in found.items()}

    def _cost(self) -> float:
        """Seconds that measuring one call of the main thread takes, undisturbed."""
        timed = Profile()._timed(REST, ROUND, max)
        trials = timeit.repeat(lambda: timed("update", "vote", key=None), repeat=5, number=1000)
        return min(trials) / 1000


def held_at(point: str) -> tuple[Any, str, Callable[..., Any]]:
    """The place of an entry point, loaded: the module or object that holds it, its name there, and
    the function itself. Raises ImportError or KeyError for one that does not exist."""
    module, _, path = point.partition(":")
    owner: Any = import_module(module)
    *above, name = path.split(".")
    for each in above:
        owner = vars(owner)[each]
    return owner, name, vars(owner)[name]


def _replace(owner: Any, name: str, old: object, new: object) -> None:
    """Replace a function by another: an object's attribute, or a module's function, there and in
    all modules of ours that import it."""
    if isinstance(owner, type):
        setattr(owner, name, new)
    elif not isinstance(owner, ModuleType):
        object.__setattr__(owner, name, new)  # the suites are frozen
    else:
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").partition(".")[0] in ("bfedrec", "consensus"):
                for alias in [each for each, value in vars(module).items() if value is old]:
                    setattr(module, alias, new)
