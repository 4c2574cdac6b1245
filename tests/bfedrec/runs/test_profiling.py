"""The profile of a run: what it wraps, how it counts, and that it changes nothing."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bfedrec.config.load import load
from bfedrec.federation import cohorts
from bfedrec.federation.forked_trainer import ACCOUNTS
from bfedrec.federation.training_process import TrainingProcess
from bfedrec.runs import learning, profiling, simulation
from bfedrec.runs.figures import MEASURED, PROFILE
from bfedrec.runs.folder import RunFolder
from bfedrec.runs.profiling import GARBAGE, IDLE, PARTS, REST, ROUND, SETUP, Part, Profile, held_at
from bfedrec.runs.progress import Progress
from consensus.crypto import suites
from consensus.encoding import cid, dag_cbor
from tests.helpers.tiny import TINY

ROUNDS = 3
POINTS = [(name, point) for name, part in PARTS.items() for point in part.points]


def play(path: Path, module: ModuleType, *overrides: str) -> dict[str, Any]:
    """Play a tiny run, with a ledger or without; return its summary."""
    source = path.with_suffix(".yaml")
    source.write_text(f"rounds: {ROUNDS}\nevaluation: {{every: 2}}\n{TINY}")
    config = load(source, list(overrides))
    with (
        open(os.devnull, "w") as nowhere,
        RunFolder.open(config, path, False, ledger=module is simulation) as folder,
        Progress(config.rounds, folder.log, Console(file=nowhere)) as progress,
    ):
        return dict(module.run(config, folder, False, progress))


# -- the entry points of real runs ----------------------------------------------------------------

#: Proofs of others' making alone are verified: honest servers vouch for their own.
FORGED = "servers.malicious=[{behaviour: forge_tickets, servers: [0]}]"
FEEDBACK = ("crypto=modelled", "compression.kind=top_k", "compression.error_feedback=true")
KINDS: dict[str, tuple[ModuleType, tuple[str, ...]]] = {
    "quickstart": (simulation, ()),
    "attacked": (simulation, (FORGED,)),
    "modelled": (simulation, (*FEEDBACK, FORGED)),
    "learnt": (
        learning,
        (
            "training.method=ials",
            "training.local_epochs=2",
            "compression.kind=ternary",
            "compression.size=1",
        ),
    ),
}


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Profile]:
    """Profiles of small runs of different kinds."""
    found = {}
    for kind, (module, overrides) in KINDS.items():
        with Profile() as found[kind]:
            play(tmp_path_factory.mktemp(kind) / "run", module, *overrides)
    return found


@pytest.mark.parametrize("point", [point for _, point in POINTS])
def test_every_entry_point_is_called_in_a_run(profiles: dict[str, Profile], point: str) -> None:
    """One that moves is to be followed in `PARTS`, or its time goes to another part unseen."""
    assert sum(profile.calls()[point] for profile in profiles.values()) > 0


@pytest.mark.parametrize("name", [name for name in PARTS if name not in (REST, "vrf_verify")])
def test_every_part_has_time_in_a_run_on_a_ledger(profiles: dict[str, Profile], name: str) -> None:
    figures = profiles["quickstart"].figures()
    of_part = {what: figures[f"{PROFILE}{name}_{what}"] for what in ("seconds", "beside_seconds")}
    assert figures[f"{PROFILE}{name}_calls"] > 0
    assert sum(of_part.values()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_parts_and_the_rest_sum_to_the_whole(profiles: dict[str, Profile], kind: str) -> None:
    figures = profiles[kind].figures()
    parts = [figures.get(f"{PROFILE}{name}_seconds", 0.0) for name in PARTS]
    assert sum(parts) == pytest.approx(figures[f"{PROFILE}seconds"])
    assert min(parts) >= 0
    assert figures[f"{PROFILE}rounds"] == ROUNDS


def test_what_trains_and_signs_beside_the_servers_is_not_the_main_threads(
    profiles: dict[str, Profile],
) -> None:
    figures = profiles["quickstart"].figures()
    assert figures[f"{PROFILE}training_seconds"] == 0
    assert figures[f"{PROFILE}training_beside_seconds"] > 0
    assert figures[f"{PROFILE}training_beside_processor_seconds"] > 0
    assert figures[f"{PROFILE}protocol_beside_seconds"] == 0
    learnt = profiles["learnt"].figures()
    assert learnt[f"{PROFILE}training_seconds"] > 0
    assert f"{PROFILE}protocol_seconds" not in learnt


def test_what_another_process_does_is_told_as_a_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cohorts, "WORTH_FORKING", 0)
    monkeypatch.setattr(cohorts, "thread_count", lambda: 2)
    began = TrainingProcess.begin
    monkeypatch.setattr(TrainingProcess, "begin", lambda *asked: used.append(1) or began(*asked))
    used: list[int] = []
    with Profile() as profile:
        for name in ("one", "other"):
            summary = play(tmp_path / name, simulation)
    assert used
    assert not ACCOUNTS
    found = profile.figures()
    assert found["profile_training_seconds"] == 0, "nothing of it is the main thread's"
    assert found["profile_training_beside_seconds"] > 0
    assert found["profile_training_beside_processor_seconds"] > 0
    trained = "bfedrec.federation.cohorts:Cohorts.train"
    assert profile.calls()[trained] == 2 * ROUNDS * cohorts.TRAINING_PARTS
    used_here, there = (
        found[f"profile_{what}"]
        for what in ("main_processor_seconds", "training_beside_processor_seconds")
    )
    assert found["profile_processor_seconds"] > used_here + there
    assert summary["training_clients_per_second"] > 0


def test_a_profile_leaves_head_and_figures_as_they_are(tmp_path: Path) -> None:
    plain = play(tmp_path / "plain", simulation)
    with Profile() as profile:
        measured = play(tmp_path / "measured", simulation)
    assert plain.keys() == measured.keys()
    assert {name: plain[name] for name in plain if name not in MEASURED} == {
        name: measured[name] for name in measured if name not in MEASURED
    }
    assert all(name.startswith(PROFILE) for name in profile.figures())
    for name in ("chain.sqlite", "model.safetensors", "timeline.jsonl"):
        assert (tmp_path / "plain" / name).read_bytes() == (
            tmp_path / "measured" / name
        ).read_bytes(), name


# -- standing in, and putting back ----------------------------------------------------------------


def test_all_entry_points_are_put_back_where_they_were() -> None:
    def held() -> list[Any]:
        return [held_at(point)[2] for _, point in POINTS]

    before, imported = held(), simulation.append_timeline
    late = ModuleType("bfedrec.late")
    sys.modules[late.__name__] = late
    try:
        with suppress(RuntimeError), Profile():
            assert all(one is not other for one, other in zip(before, held(), strict=True))
            assert simulation.append_timeline is not imported
            late.encode = dag_cbor.encode  # a module that is loaded while a run goes on
            raise RuntimeError
        assert all(one is other for one, other in zip(before, held(), strict=True))
        assert simulation.append_timeline is imported
        assert late.encode is dag_cbor.encode
        assert not any("Profile" in getattr(each, "__qualname__", "") for each in gc.callbacks)
    finally:
        del sys.modules[late.__name__]


def test_stand_ins_give_what_the_entry_points_give() -> None:
    key = suites.REAL.signing_key(bytes(32))
    signature, address = key.sign(bytes(32)), cid.raw_cid(b"x")
    with Profile() as profile:
        assert suites.REAL.signing_key(bytes(32)).sign(bytes(32)) == signature
        assert suites.suite_named("real").verify(key.public, bytes(32), signature)
        assert cid.raw_cid(b"x") == address
        with pytest.raises(ValueError, match="digest"):
            key.sign(b"")
    calls = profile.calls()
    assert calls["consensus.crypto.keys:SigningKey.sign"] == 2
    assert calls["consensus.crypto.suites:REAL.verify"] == 1
    assert calls["consensus.encoding.cid:digest"] == 1


@pytest.mark.parametrize("point", ["bfedrec.nowhere:f", "bfedrec.runs.state:RunState.nothing"])
def test_an_entry_point_that_is_gone_is_an_error_that_replaces_nothing(
    monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setitem(PARTS, "gone", Part("gone", (point,)))
    before = held_at(ROUND)[2]
    with pytest.raises((ImportError, KeyError)), Profile():
        raise AssertionError
    assert held_at(ROUND)[2] is before


def test_a_run_without_a_profile_does_not_even_load_it(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(f"rounds: 1\n{TINY}")
    code = (
        "import sys\nfrom bfedrec.cli.main import main\n"
        f"assert main(['run', {str(config)!r}, '--out', {str(tmp_path / 'run')!r}]) == 0\n"
        "assert 'bfedrec.runs.profiling' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# -- exclusive times, by clocks of our own --------------------------------------------------------


class Toy:
    """Two parts: one calls the other, and itself."""

    @staticmethod
    def outer(clock: SimpleNamespace, again: int = 0) -> None:
        clock.now += 1.0
        toy_inner(clock)
        if again:
            HOLDER.outer(clock, again - 1)
        clock.now += 1.0


def toy_inner(clock: SimpleNamespace) -> None:
    clock.now += 10.0
    clock.used += 4.0
    if clock.fails:
        raise RuntimeError


HOLDER = SimpleNamespace(outer=Toy.outer, inner=toy_inner)


@contextmanager
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Profile, SimpleNamespace]]:
    clock = SimpleNamespace(now=100.0, used=50.0, fails=False)
    profile = Profile(lambda: clock.now, lambda: clock.used)
    monkeypatch.setattr(HOLDER, "outer", profile._timed("protocol", ROUND, Toy.outer))
    monkeypatch.setitem(globals(), "toy_inner", profile._timed("verify", ROUND, toy_inner))
    clock.now += 5.0
    profile._main.go_to(REST)
    yield profile, clock
    profile._main.go_to(REST)


def test_the_time_of_a_part_is_without_that_of_parts_below(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with toy(monkeypatch) as (profile, clock):
        HOLDER.outer(clock, again=1)
        clock.now += 3.0
    seconds = profile._main.seconds
    assert {name: value for name, value in seconds.items() if value} == {
        SETUP: 5.0,
        "protocol": 4.0,
        "verify": 20.0,
        REST: 3.0,
    }
    assert profile.calls()[ROUND] == 4
    assert profile.figures()[f"{PROFILE}seconds"] == 32.0
    assert profile.figures()[f"{PROFILE}protocol_beside_seconds"] == 0.0


def test_an_error_ends_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    with toy(monkeypatch) as (profile, clock):
        clock.fails = True
        with pytest.raises(RuntimeError):
            HOLDER.outer(clock)
        clock.now += 2.0
    assert profile._main.seconds["protocol"] == 1.0
    assert profile._main.seconds["verify"] == 10.0
    assert profile._main.seconds[REST] == 2.0


def test_other_threads_have_times_of_their_own_and_are_idle_between_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with toy(monkeypatch) as (profile, clock):

        def work() -> None:
            clock.now += 7.0
            HOLDER.outer(clock)
            clock.now += 7.0
            HOLDER.outer(clock)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    figures = profile.figures()
    assert figures[f"{PROFILE}protocol_seconds"] == 0.0
    assert figures[f"{PROFILE}protocol_beside_seconds"] == 4.0
    assert figures[f"{PROFILE}verify_beside_seconds"] == 20.0
    assert figures[f"{PROFILE}verify_beside_processor_seconds"] == 8.0
    assert figures[f"{PROFILE}seconds"] == 43.0  # the main thread's, which waited
    (other,) = profile._others
    assert other.seconds[IDLE] == 7.0


def test_collections_of_garbage_are_a_part() -> None:
    with Profile() as profile:
        gc.collect()
    calls = profile.calls()[GARBAGE]
    gc.collect()
    figures = profile.figures()
    assert figures[f"{PROFILE}garbage_calls"] == calls >= 1
    assert figures[f"{PROFILE}garbage_seconds"] > 0
    assert profiling.PARTS[GARBAGE].points == ()
