"""The parts of a round: who is dealt, whose links, what is fetched, where Q goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.aggregation.registry import aggregator_named
from bfedrec.compression.exchange import Exchange
from bfedrec.config.clients import ClientSettings
from bfedrec.federation.client_links import MIB, ClientLinks
from bfedrec.federation.client_sampling import cohort, participants
from bfedrec.federation.downlink import Downlink
from bfedrec.federation.global_model import GlobalModel
from bfedrec.streams import Streams
from tests.helpers.payloads import exchange

# --- who is dealt ---------------------------------------------------------------------------------


@given(st.integers(1, 40), st.data(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_everybody_is_dealt_before_anybody_twice(
    clients: int, data: st.DataObject, seed: int
) -> None:
    per_round = data.draw(st.integers(1, clients))
    streams = Streams(seed)
    rounds = [cohort(streams, clients, per_round, height) for height in range(1, 4 * clients)]
    for hand in rounds:
        assert len(hand) == per_round == len(set(hand.tolist()))
    dealt = np.concatenate(rounds)
    for deal in range(len(dealt) // clients):
        assert sorted(dealt[deal * clients : (deal + 1) * clients]) == list(range(clients))


def test_a_round_depends_on_its_height_alone() -> None:
    late = cohort(Streams(3), 100, 7, 60)
    early = [cohort(Streams(3), 100, 7, height) for height in range(1, 61)]
    assert np.array_equal(late, early[-1])
    assert not np.array_equal(early[0], cohort(Streams(4), 100, 7, 1))


def recursive_deal(streams: Streams, clients: int, per_round: int, deal: int) -> np.ndarray:
    """A permutation by its definition, which recorded runs were dealt by."""
    order = streams.generator("sampling", deal).permutation(clients)
    carried = (deal * clients) % per_round
    if not carried:
        return order
    before = recursive_deal(streams, clients, per_round, deal - 1)[-carried:]
    late = np.isin(order, before)
    missing = per_round - carried
    fresh = order[~late]
    rest = np.concatenate([order[late], fresh[missing:]])
    place = np.empty(clients, np.int64)
    place[order] = np.arange(clients)
    return np.concatenate([fresh[:missing], rest[np.argsort(place[rest], kind="stable")]])


@given(st.integers(1, 30), st.data(), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_deals_are_those_of_their_definition(clients: int, data: st.DataObject, seed: int) -> None:
    per_round = data.draw(st.integers(1, clients))
    heights = data.draw(st.lists(st.integers(1, 100), min_size=1, max_size=8))
    streams = Streams(seed)
    for height in heights:  # forwards and backwards
        deal, offset = divmod((height - 1) * per_round, clients)
        deals = [recursive_deal(streams, clients, per_round, deal + k) for k in range(2)]
        expected = np.concatenate(deals)[offset : offset + per_round]
        dealt = cohort(streams, clients, per_round, height)
        assert (dealt.dtype, dealt.tobytes()) == (expected.dtype, expected.tobytes())


def test_thousands_of_rounds_of_nearly_everybody() -> None:
    """Each permutation follows from the one before, deeper than Python recurses."""
    clients, rounds = 1500, 2500
    late = cohort(Streams(5), clients, clients - 1, rounds)
    hands = [cohort(Streams(6), clients, clients - 1, height) for height in range(1, rounds + 1)]
    assert np.array_equal(late, cohort(Streams(5), clients, clients - 1, rounds))
    for hand in hands:
        assert len(np.unique(hand)) == clients - 1
    count = np.bincount(np.concatenate(hands), minlength=clients)
    assert count.max() - count.min() <= 1
    assert np.array_equal(hands[1450], cohort(Streams(6), clients, clients - 1, 1451))


@pytest.mark.parametrize("per_round", [0, 6])
def test_a_round_cannot_have_more_clients_than_there_are(per_round: int) -> None:
    with pytest.raises(ValueError, match="cannot be dealt from 5"):
        cohort(Streams(0), 5, per_round, 1)


def test_some_of_a_round_are_away() -> None:
    settings = ClientSettings(per_round=10, dropout=0.34)
    rounds = [participants(Streams(3), 100, settings, height) for height in range(1, 41)]
    for height, there in enumerate(rounds, 1):
        dealt = cohort(Streams(3), 100, 10, height)
        assert len(there) == settings.present == 7
        assert there.tolist() == [client for client in dealt if client in there]
    away = 40 - np.bincount(
        np.concatenate(
            [
                np.flatnonzero(np.isin(cohort(Streams(3), 100, 10, height), there))
                for height, there in enumerate(rounds, 1)
            ]
        )
    )
    assert away.min() > 4  # of 12 to be expected at each place
    assert away.max() < 22
    assert np.array_equal(participants(Streams(3), 100, settings, 40), rounds[-1])
    assert len(participants(Streams(3), 100, ClientSettings(per_round=2, dropout=0.99), 1)) == 1
    everybody = participants(Streams(3), 100, ClientSettings(per_round=10), 5)
    assert np.array_equal(everybody, cohort(Streams(3), 100, 10, 5))


# --- links ----------------------------------------------------------------------------------------


def test_default_links_give_table_iii() -> None:
    """A at r = 4 over 3,706 items: 1,000 rounds take the paper's 5.03 minutes on the wire."""
    regions = np.zeros(1, np.int64)
    links = ClientLinks.draw(ClientSettings(latency_ms=0.0), 1, regions, Streams(0))
    size = 4 * 4 * 3706
    one = links.download_seconds(np.array([0]), np.array([size]))[0]
    one += links.upload_seconds(np.array([0]), size)[0]
    assert 1000 * one / 60 == pytest.approx(5.03, abs=0.005)


def test_clients_are_spread_over_the_servers_of_their_region() -> None:
    regions = np.arange(6) % 2
    links = ClientLinks.draw(ClientSettings(), 6000, regions, Streams(1))
    counts = np.bincount(links.server, minlength=6)
    assert counts.min() > 900
    assert np.allclose(links.download, 0.75 * MIB)
    assert np.allclose(links.latency, 0.02)


def test_spread_is_log_normal_around_the_median() -> None:
    links = ClientLinks.draw(ClientSettings(spread=0.5), 20_000, np.zeros(1, np.int64), Streams(1))
    logs = np.log(links.upload / (0.25 * MIB))
    assert abs(np.median(logs)) < 0.02
    assert logs.std() == pytest.approx(0.5, abs=0.02)


# --- what is fetched ------------------------------------------------------------------------------


def test_downlink_by_hand() -> None:
    """Q has 1,000 bytes, every A with its header 110; snapshots every 3 heights."""
    account = Downlink(4, 1000, 1000, 3)
    everybody = np.arange(4)
    first = account.fetch(everybody, 1)
    assert first["broadcast"].tolist() == first["catch_up"].tolist() == [1000] * 4
    for height in range(1, 8):
        account.committed(height, np.array([height % 2]), 10, 100)
    account.committed(8, np.array([0]), 10, 100)
    fetched = account.fetch(everybody, 9)
    assert fetched["broadcast"].tolist() == [110] * 4
    # 0 trained at 8 with all A's up to 7; 1 at 7 with all up to 6; 2 and 3 never: the snapshot of
    # height 6 and the A's of 7 and 8.
    assert fetched["catch_up"].tolist() == [110, 220, 1220, 1220]


def test_whoever_is_away_long_fetches_the_snapshot() -> None:
    account = Downlink(1, 500, 500, 5)
    account.committed(1, np.array([0]), 10, 90)
    for height in range(2, 15):
        account.committed(height, np.array([], np.int64), 10, 90)
    # Of 14 missed A's (1,400 bytes) or the snapshot of height 10 with four A's (900): the latter.
    assert account.fetch(np.array([0]), 15)["catch_up"].tolist() == [900]


def test_a_snapshot_with_the_optimizers_state_costs_its_bytes() -> None:
    """Q(0) has 1,000 bytes, and a later snapshot 3,000."""
    account = Downlink(2, 1000, 3000, 2)
    assert account.fetch(np.array([0]), 1)["catch_up"].tolist() == [1000]
    account.committed(1, np.array([0]), 10, 990)
    assert account.fetch(np.array([1]), 2)["catch_up"].tolist() == [2000]  # Q(0) and one A
    account.committed(2, np.array([0]), 10, 990)
    assert account.fetch(np.array([1]), 3)["catch_up"].tolist() == [3000]


# --- the global model -----------------------------------------------------------------------------


def make_model(kind: str = "seeded", every: int | None = None) -> GlobalModel:
    Q = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32)
    return GlobalModel(Q, kind, exchange(2, 9, "samples"), every, b"first")  # type: ignore[arg-type]


def test_what_was_checked_ahead_is_not_checked_again_in_the_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, asked = make_model(), list[bytes]()
    good, bad = bytes(model.exchange.payload_size), b"x"
    check = type(model.exchange).check

    def note(self: Any, payload: bytes) -> str | None:
        asked.append(payload)
        return check(self, payload)

    monkeypatch.setattr(type(model.exchange), "check", note)
    for payload in (good, bad):
        model.check_ahead(1, payload)
    assert model.check_payload(good) is None
    assert "1 bytes instead of" in str(model.check_payload(bad))
    assert asked == [good, bad]
    assert model.check_payload(bytes(bytearray(good))) is None, "another's of the same bytes"
    assert len(asked) == 3
    following = bytes(bytearray(good))
    model.check_ahead(2, following)
    model.commit(1, b"beacon", model.aggregate([good], [1], b"beacon"))
    assert model.check_payload(good) is None
    assert len(asked) == 5, "the round is over"
    assert model.check_payload(following) is None
    assert len(asked) == 5, "the next one has begun"


@pytest.mark.parametrize("kind", ["seeded", "svd", "fixed"])
def test_committing_moves_q_by_b_a(kind: str) -> None:
    model = make_model(kind)
    Q, B = model.Q.copy(), model.basis(b"beacon").astype(np.float64)
    A = np.random.default_rng(1).standard_normal((2, 9)).astype("<f4")
    model.commit(1, b"beacon", A.tobytes())
    assert np.allclose(model.Q, Q + (B @ A).T, atol=1e-5)


def test_only_the_fixed_basis_ignores_the_beacon() -> None:
    for kind, same in (("seeded", False), ("svd", True), ("fixed", True)):
        model = make_model(kind)
        assert np.array_equal(model.basis(b"one"), model.basis(b"two")) is same, kind


def test_the_genesis_rebuilds_the_model() -> None:
    model = make_model(every=3)
    rebuilt = GlobalModel.from_genesis(model.describe(), model.encode(), b"first")
    assert np.array_equal(rebuilt.Q, model.Q)
    assert rebuilt.describe() == model.describe()


def test_a_codec_of_its_own_is_rebuilt_and_low_rank_is_not_named() -> None:
    """So that chains from before there were codecs keep their heads."""
    plain = make_model().describe()
    assert plain == {
        "items": 9,
        "dimension": 6,
        "rank": 2,
        "basis": "seeded",
        "aggregation": "samples",
        "snapshot_every": None,
    }
    Q = make_model().Q
    for kind, size, downlink in (("dense", 6, "same"), ("svd", 2, "same"), ("top_k", 3, "dense")):
        encoded = Exchange.named(aggregator_named("per_item"), kind, 6, 9, size, downlink)
        model = GlobalModel(Q, "identity", encoded, None, b"first")
        told = {"kind": kind, "size": size, "downlink": downlink}
        assert model.describe() == plain | {
            "rank": 6,
            "basis": "identity",
            "aggregation": "per_item",
            "compression": told,
        }
        rebuilt = GlobalModel.from_genesis(model.describe(), model.encode(), b"first")
        assert rebuilt.exchange == encoded
        assert np.array_equal(rebuilt.basis(b"any"), np.eye(6, dtype=np.float32))


def test_under_the_identity_basis_the_update_itself_is_merged() -> None:
    encoded = Exchange.named(aggregator_named("samples"), "dense", 6, 9, 6)
    model = GlobalModel(make_model().Q.copy(), "identity", encoded, None, b"first")
    Q, A = model.Q.copy(), np.random.default_rng(1).standard_normal((6, 9)).astype("<f4")
    model.commit(1, b"beacon", A.tobytes())
    assert np.array_equal(model.Q, Q + A.T)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"basis": "identity"}, "basis 'identity' of 6 x 2 does not fit"),
        ({"compression": 7}, "describes no compression"),
        ({"compression": {"kind": "svd", "size": 1}}, "describes no compression: 'downlink'"),
        ({"compression": {"kind": "zip", "size": 1, "downlink": "same"}}, "codec 'zip'"),
        ({"compression": {"kind": "svd", "size": 3, "downlink": "same"}}, "1 to 2, not 3"),
        ({"items": 8}, "has 192 bytes"),
        ({"rank": 0}, "basis 'seeded' of 6 x 0 does not fit"),
        ({"rank": 7}, "basis 'seeded' of 6 x 7 does not fit"),
        ({"basis": "random"}, "unknown basis 'random'"),
        ({"aggregation": "best"}, "aggregation rule 'best'"),
        ({"dimension": None}, "describes no global model"),
    ],
)
def test_a_genesis_that_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    model = make_model()
    with pytest.raises(ValueError, match=message):
        GlobalModel.from_genesis(model.describe() | change, model.encode(), b"first")


def test_a_basis_that_is_much_larger_than_the_model_is_refused() -> None:
    """A genesis of a few bytes would have its reader allocate 16 GiB."""
    d = 65_536
    description = make_model().describe() | {"items": 1, "dimension": d, "rank": d}
    with pytest.raises(ValueError, match="65536 x 65536 does not fit a model of 1 x 65536"):
        GlobalModel.from_genesis(description, bytes(4 * d), b"first")


def test_a_client_that_catches_up_from_a_snapshot_has_the_same_q() -> None:
    ahead, behind = make_model(every=2), make_model(every=2)
    generator = np.random.default_rng(2)
    aggregates = [generator.standard_normal((2, 9)).astype("<f4").tobytes() for _ in range(3)]
    snapshots = []
    for height, A in enumerate(aggregates, 1):
        beacon = bytes([height])
        snapshots.append(ahead.snapshot(height, beacon, A))
        ahead.commit(height, beacon, A)
    assert [snapshot is not None for snapshot in snapshots] == [False, True, False]
    assert snapshots[1] is not None
    behind.Q = np.frombuffer(snapshots[1], "<f4").reshape(9, 6)
    behind.commit(3, bytes([3]), aggregates[2])
    assert ahead.encode() == behind.encode()
