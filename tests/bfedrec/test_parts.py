"""Parts that return something else than their interfaces say: told by name, not computed with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bfedrec.aggregation.aggregator import Aggregator
from bfedrec.attacks.adversary import Adversary
from bfedrec.attacks.attack import ATTACKS, Attack, attack
from bfedrec.cli.main import main
from bfedrec.compression.codec import Codec
from bfedrec.compression.codecs.dense import Dense
from bfedrec.compression.exchange import Exchange
from bfedrec.config.load import load
from bfedrec.evaluation.metrics import METRICS, Evaluation, Metric, metric
from bfedrec.federation.trainers import trainer
from bfedrec.learning.basis import Basis
from bfedrec.learning.method import METHODS, TrainingMethod, training_method
from bfedrec.learning.optimizer import Optimizer, Progress
from bfedrec.learning.upload import LocalUpdates, Upload
from bfedrec.parts import PartError
from bfedrec.streams import Streams

R, N, D = 2, 7, 4
A = np.arange(R * N, dtype=np.float32).reshape(R, N)
Q = np.ones((N, D), np.float32)
TOUCHED = np.ones(N, np.bool_)


@dataclass(frozen=True)
class Rule(Aggregator):
    name = "own"
    found: Any = None

    def mean(self, updates, sample_counts, r, N):  # type: ignore[no-untyped-def]
        return self.found


@dataclass(frozen=True)
class Floats(Codec):
    name = "own"
    under_basis = True
    cut: int = 0
    read: Any = np.asarray

    @property
    def byte_size(self):  # type: ignore[no-untyped-def]
        return 4 * self.rows * self.items

    def encode(self, A, beacon):  # type: ignore[no-untyped-def]
        return A.astype("<f4").tobytes()[self.cut :]

    def decode(self, data, beacon):  # type: ignore[no-untyped-def]
        return self.read(np.frombuffer(data, "<f4").reshape(self.rows, self.items))


def exchange(found: Any = A, **changes: Any) -> Exchange:
    codec = Floats(R, N, R, **changes)
    return Exchange(Rule(found), codec, Dense(R, N, R))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (A.T, r"float32\[7, 2\], and not float32\[2, 7\]"),
        (A[:, :-1], r"float32\[2, 6\], and not float32\[2, 7\]"),
        (A.tolist(), "list, and not an array"),
        (None, "NoneType, and not an array"),
        (A.astype(np.complex64), "complex64, and not real numbers"),
        (A.astype(str), r"<U\d+, and not real numbers"),
    ],
)
def test_an_aggregate_of_another_shape_is_refused(found: Any, told: str) -> None:
    usual = exchange()
    payload = usual.encode(A, TOUCHED, b"")
    assert usual.aggregate([payload], [1], b"") == A.tobytes()
    with pytest.raises(PartError, match=rf"aggregation rule 'own': mean\(\) returned {told}"):
        exchange(found).aggregate([payload], [1], b"")


def test_an_encoding_of_another_length_is_refused() -> None:
    with pytest.raises(PartError, match=r"codec 'own': encode\(\) returned 52 bytes, .* = 56"):
        exchange(cut=4).encode(A, TOUCHED, b"")


def test_an_encoding_that_is_no_bytes_is_refused() -> None:
    class Texts(Floats):
        def encode(self, A, beacon):  # type: ignore[no-untyped-def]
            return "a" * self.byte_size

    with pytest.raises(PartError, match=r"codec 'own': encode\(\) returned str, and not bytes"):
        Texts(R, N, R).encoded(A, b"")


@pytest.mark.parametrize(
    "read", [lambda A: A.T, lambda A: A[:, :-1], lambda A: A.astype(np.float64)]
)
def test_a_decoding_of_another_shape_is_refused(read: Any) -> None:
    own = exchange(read=read)
    payload = own.encode(A, TOUCHED, b"")
    for use in (lambda: own.decode(payload, b""), lambda: own.up.total([payload], b"")):
        with pytest.raises(PartError, match=r"decode\(\) returned float.*, and not float32\[2, 7"):
            use()


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ((Q[:-1], ()), r"float32\[6, 4\], and not float32\[7, 4\]"),
        ((Q.astype(np.float64), ()), r"float64\[7, 4\], and not float32"),
        (Q, "ndarray, and not"),
        ((Q, (Q,)), "1 arrays of state, and not 0"),
    ],
)
def test_a_step_to_another_shape_is_refused(found: Any, told: str) -> None:
    class Step(Optimizer):
        name = "own"

        def merged(self, Q, state, B, A, progress):  # type: ignore[no-untyped-def]
            return found

    with pytest.raises(PartError, match=rf"optimizer 'own': merged\(\) returned {told}"):
        Step().checked(Q, (), np.ones((D, R), np.float32), A, Progress(1, 1))


def test_a_part_cannot_change_the_model_that_it_is_given() -> None:
    """An in-place step, or an attack that scaled Q for itself, changed the Q of everybody, and the
    audit of the chain passed."""

    class InPlace(Optimizer):
        name = "own"

        def merged(self, Q, state, B, A, progress):  # type: ignore[no-untyped-def]
            Q += 1
            return Q, state

    class Scaled(Basis):
        name = "own"

        def columns(self, d, r, beacon, Q):  # type: ignore[no-untyped-def]
            Q /= 2
            return np.eye(d)[:, :r]

    class Rude(Attack):
        """Takes honest clients' updates away."""

        def forge(self, uploads, scene):  # type: ignore[no-untyped-def]
            for array in (scene.Q, scene.B, scene.honest[0].A, scene.honest[0].touched):
                with pytest.raises(ValueError, match="read-only"):
                    array[:] = 0
            return uploads

    own, B = Q.copy(), np.ones((D, R), np.float32)
    with pytest.raises(ValueError, match="read-only"):
        InPlace().checked(own, (), B, A, Progress(1, 1))
    with pytest.raises(ValueError, match="read-only"):
        Scaled().matrix(D, R, b"", own)
    with ATTACKS.restored():
        attack("rude")(Rude)
        plans = load(None, ["clients.malicious=[{attack: rude, share: 1/2}]"]).clients.malicious
        adversary = Adversary(plans, 2, Streams(0), b"", 10)
        uploads = [Upload(client, A.copy(), TOUCHED, 5) for client in (0, 1)]
        sent = adversary.forge(1, uploads, np.ones((2, D), np.float32), own, B, exchange(), None)  # type: ignore[arg-type]
    assert [each.A.flags.writeable for each in sent] == [True, True]
    assert np.array_equal(own, Q)


def test_a_basis_of_another_shape_is_refused() -> None:
    class Wide(Basis):
        name = "own"

        def columns(self, d, r, beacon, Q):  # type: ignore[no-untyped-def]
            return np.eye(d)

    with pytest.raises(PartError, match=r"basis 'own': columns\(\) returned float64\[4, 4\]"):
        Wide().matrix(D, R, b"")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (0.5, "float, and not an array"),
        (np.ones((3, 1)), r"float64\[3, 1\], and not float64\[3\]"),
        (np.array([0.0, np.nan, 1.0]), "NaN or infinity"),
    ],
)
def test_a_metric_that_is_no_number_for_each_user_is_refused(found: Any, told: str) -> None:
    class Own(Metric):
        label, meaning = "OWN", "own"

        def of(self, rank, k):  # type: ignore[no-untyped-def]
            return found

    with METRICS.restored():
        metric("own")(Own)
        evaluation = Evaluation(np.arange(3), np.arange(3), None, 10)
        with pytest.raises(PartError, match=rf"metric 'own': of\(\) returned {told}"):
            evaluation.means()
        with pytest.raises(PartError):
            evaluation.of("own")


@pytest.mark.parametrize(
    ("forged", "told"),
    [
        (lambda each: replace(each, A=each.A.T), r"for A, returned .*7, 2"),
        (lambda each: replace(each, touched=each.touched * 1.0), "for touched, returned float64"),
        (lambda each: replace(each, samples=2.5), "returned 2.5 samples"),
        (lambda each: replace(each, samples=2**64), "returned 18446744073709551616 samples"),
        (lambda each: replace(each, client=3), "an upload of client 3 of 3"),
        (lambda each: replace(each, payload="text"), "returned str as a payload"),
        (lambda each: replace(each, message=b"text"), "returned bytes as a message"),
        (lambda each: None, "returned NoneType, and not an Upload"),
    ],
)
def test_a_forged_upload_that_no_message_can_hold_is_refused(forged: Any, told: str) -> None:
    class Turned(Attack):
        """Turns the update."""

        def forge(self, uploads, scene):  # type: ignore[no-untyped-def]
            return map(forged, uploads)

    with ATTACKS.restored():
        attack("turned")(Turned)
        plans = load(None, ["clients.malicious=[{attack: turned, share: 1}]"]).clients.malicious
        adversary = Adversary(plans, 3, Streams(0), b"", 10)
        uploads, P = [Upload(1, A, TOUCHED, 5)], np.ones((1, D), np.float32)
        B = np.ones((D, R), np.float32)
        with pytest.raises(PartError, match=rf"attack 'turned': forge\(\).* {told}"):
            adversary.forge(1, uploads, P, Q, B, exchange(), lambda places: None)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"A": np.zeros((1, R, N), np.float32)}, r", for A, returned float32\[1, 2, 7\]"),
        ({"touched": np.ones((2, N))}, r", for touched, returned float64\[2, 7\]"),
        ({"P": np.zeros((2, 1), np.float32)}, r", for P, returned float32\[2, 1\]"),
        ({"loss": 0.0}, ", for loss, returned float, and not an array"),
        (None, " returned NoneType, and not LocalUpdates"),
    ],
)
def test_updates_of_other_clients_than_those_of_the_round_are_refused(
    change: dict[str, Any] | None, told: str
) -> None:
    """P of one column was broadcast to all, and losses of fewer clients moved to others."""
    made = LocalUpdates(
        np.zeros((2, R, N), np.float32),
        np.ones((2, N), np.bool_),
        np.zeros((2, D), np.float32),
        np.ones(2, np.int64),
        np.zeros(2),
    )

    with METHODS.restored():

        @training_method("own")
        @dataclass(frozen=True)
        class Own(TrainingMethod):
            meaning, reads = "own", frozenset()

            def trainer(self, device, threads):  # type: ignore[no-untyped-def]
                return lambda task, clients, P: None if change is None else replace(made, **change)

        config = load(None, ["training.method=own"])
        task: Any = SimpleNamespace(Q=Q, B=np.ones((D, R), np.float32))
        with pytest.raises(PartError, match=rf"training method 'own': trainer\(\){told}"):
            trainer(config, 1)(task, np.arange(2), made.P)


def test_a_command_tells_it_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(parsed: Any) -> int:
        raise PartError("codec 'own': encode() returned 3 bytes")

    monkeypatch.setattr("bfedrec.cli.show.show_command", lambda *told: fails(told))
    assert main(["show", "anywhere"]) == 2
    assert capsys.readouterr().err == "bfedrec: codec 'own': encode() returned 3 bytes\n"
