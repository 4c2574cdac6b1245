"""Malicious clients: who they are, what each attack sends, what servers and rules make of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import Field

from bfedrec.aggregation.registry import aggregator_named
from bfedrec.attacks.adversary import Adversary
from bfedrec.attacks.attack import ATTACKS, Attack, Scene, attack, mean_and_deviation
from bfedrec.attacks.kinds.poisoning import ALittleIsEnough, Push
from bfedrec.cli.audit import audit_command
from bfedrec.compression.exchange import Exchange
from bfedrec.config.help import help_text
from bfedrec.config.load import config_hash, dump, load, parse
from bfedrec.config.yaml_core import ConfigError
from bfedrec.data.prepare import prepare
from bfedrec.evaluation.ranking import evaluate, expose
from bfedrec.federation.federation import Federation
from bfedrec.federation.learner import Learner
from bfedrec.federation.unledgered import learn
from bfedrec.learning.basis import basis
from bfedrec.learning.upload import Diverged, Upload
from bfedrec.runs.claims import build
from bfedrec.streams import Streams
from consensus.audit import AuditFailure, audit
from consensus.ledger.use import home
from consensus.records.genesis import Genesis
from consensus.storage.sqlite import SqliteStore
from tests.bfedrec.runs.test_simulation import SMALL, lasting, metrics, play
from tests.helpers.payloads import exchange

M, R, N, D = 5, 2, 30, 6


def malicious(*groups: str) -> str:
    return f"clients.malicious=[{', '.join(f'{{{group}}}' for group in groups)}]"


# --- the config -----------------------------------------------------------------------------------


def test_a_group_is_written_as_it_is_read_with_every_option() -> None:
    config = load(None, [malicious("attack: push, share: 1/10, from: 3, until: 9, items: [4, 2]")])
    (group,) = config.model_dump(mode="json")["clients"]["malicious"]
    assert group == {
        "attack": "push",
        "share": "1/10",
        "from": 3,
        "until": 9,
        "items": [4, 2],
        "k": 10,
        "steps": 20,
        "boost": None,
    }
    assert parse(dump(config), "dump") == config
    others = [malicious("attack: push, share: 1/10, from: 3, until: 9, items: [4, 3]"), "seed=0"]
    assert {config_hash(load(None, [text])) for text in others} - {config_hash(config)}


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (
            "[{attack: sgn_flip, share: 0.2}]",
            ["attack: 'sgn_flip' is not one of", "did you mean 'sign_flip'"],
        ),
        ("[{attack: [nan], share: 0.2}]", ["attack: ['nan'] is not one of"]),
        ("[3]", ["attack: None is not one of"]),
        ("3", ["clients.malicious: 3: expected list of"]),
        ("[{attack: scale}]", ["scale: share: expected a share"]),
        ("[{attack: scale, share: 2}]", ["scale: share: expected a share"]),
        ("[{attack: scale, share: [1]}]", ["scale: share: expected a share"]),
        ("[{attack: scale, share: .nan}]", ["scale: share: expected a share"]),
        ("[{attack: scale, share: 0.2, fact: 3}]", ["scale: unknown key 'fact'", "factor"]),
        ("[{attack: scale, share: 0.2, plan: 3}]", ["scale: unknown key 'plan'"]),
        ("[{attack: scale, share: 0.2, factor: -3}]", ["scale: factor: ", "greater than 0"]),
        ("[{attack: scale, share: 0.2, factor: .inf}]", ["scale: factor: ", "finite"]),
        ("[{attack: scale, share: 0.2, from: 0}]", ["scale: from: ", "or equal to 1"]),
        ("[{attack: scale, share: 0.2, from: 9, until: 3}]", ["scale: until: expected 9"]),
        ("[{attack: scale, share: 0.7}, {attack: nan, share: 0.4}]", ["shares of 1 at most"]),
        ("[{attack: push, share: 0.2, items: []}]", ["push: items: ", "at least 1"]),
        ("[{attack: push, share: 0.2, items: [-1]}]", ["push: items.0: ", "or equal to 0"]),
        ("[{attack: nan, share: 0.2, value: x}]", ["nan: value: ", "'inf'"]),
    ],
)
def test_a_bad_group_is_one_line_that_says_what_is_wrong(value: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, [f"clients.malicious={value}"])
    line = str(caught.value)
    assert "\n" not in line
    for part in ["command line: clients.malicious", *parts]:
        assert part in line


def test_help_tells_every_attack_with_its_options() -> None:
    text = " ".join(help_text().split())
    for name, kind in ATTACKS.items():
        assert kind.__doc__
        assert f"{name}: " in text or f"{name} (" in text
        for key in kind.model_fields:
            assert f"{key}=" in text


def test_an_attack_is_a_class_with_one_method() -> None:
    class Lazy(Attack):
        """Uploads a share of what it learnt."""

        factor: float = Field(default=0.5, description="the share")

        def forge(self, uploads: Sequence[Upload], scene: Scene) -> Sequence[Upload]:
            return [replace(upload, A=np.float32(self.factor) * upload.A) for upload in uploads]

    with ATTACKS.restored():
        attack("lazy")(Lazy)
        assert "lazy (factor=0.5): Uploads a share of what it learnt" in help_text(10_000)
        sent = forged("lazy", factor=0.25)
        assert all(
            np.array_equal(one.A, 0.25 * was.A) for one, was in zip(sent, honest(), strict=True)
        )
        with pytest.raises(ValueError, match="'lazy' is registered twice"):
            attack("lazy")(Lazy)
        with pytest.raises(ConfigError, match=r"'lasy' is not one of .*did you mean 'lazy'"):
            load(None, [malicious("attack: lasy, share: 0.1")])
    assert "lazy (" not in help_text()


@pytest.mark.parametrize("key", ["share", "until"])
def test_an_option_that_every_attack_has_is_refused(key: str) -> None:
    fields: Any = {"__annotations__": {key: float}, key: 0.5, "forge": lambda self, u, s: u}
    with pytest.raises(ValueError, match=f"attack 'late': an option cannot be named '{key}'"):
        attack("late")(type(Attack)("Late", (Attack,), {"__module__": __name__, **fields}))
    assert "late" not in ATTACKS


def test_a_target_that_is_no_item_is_refused(tmp_path: Path) -> None:
    for override in ("evaluation.targets=[60]", malicious("attack: push, share: 0.1, items: [60]")):
        with pytest.raises(ConfigError, match="target item 60 is none of the 60 of synthetic"):
            play(tmp_path / override[:5], override)


# --- who attacks, and when ------------------------------------------------------------------------


def adversary(*groups: str, users: int = 200, seed: int = 0) -> Adversary:
    plans = load(None, [malicious(*groups)]).clients.malicious
    return Adversary(plans, users, Streams(seed), b"", 10)


def test_a_group_may_be_of_the_clients_of_some_servers_alone() -> None:
    near = adversary("attack: scale, share: 1, homes: [3, 7]", users=205)
    assert {home(client, 10) for client in np.flatnonzero(~near.honest)} == {3, 7}
    assert np.flatnonzero(near.honest).size == 205 - 41
    half = adversary("attack: scale, share: 1/2, homes: [3]", "attack: nan, share: 1/2")
    assert (np.bincount(half.group + 1)[1:] == (10, 100)).all()
    assert not {client for client in np.flatnonzero(half.group == 0) if home(client, 10) != 3}


@pytest.mark.parametrize("homes", ["[30]", "[-1]", "[0.5]", "3"])
def test_homes_are_servers_that_there_are(homes: str) -> None:
    with pytest.raises(ConfigError, match="homes"):
        load(None, [malicious(f"attack: scale, share: 1, homes: {homes}")])


def test_groups_are_shares_of_the_clients_drawn_apart() -> None:
    found = adversary("attack: scale, share: 1/3", "attack: nan, share: 0.05")
    assert Counter(found.group.tolist()) == {-1: 200 - 66 - 10, 0: 66, 1: 10}
    assert found.honest.sum() == 124
    # Another group takes nobody away from the first; another seed draws others.
    assert np.array_equal(adversary("attack: nan, share: 1/3").group == 0, found.group == 0)
    other = adversary("attack: nan, share: 1/3", seed=1)
    assert not np.array_equal(other.group == 0, found.group == 0)


def test_a_group_attacks_in_its_rounds_alone() -> None:
    found = adversary("attack: scale, share: 0.5, from: 3, until: 4", "attack: nan, share: 0.2")
    first, second = (int(np.flatnonzero(found.group == number)[0]) for number in (0, 1))
    nobody = int(np.flatnonzero(found.honest)[0])
    names = [found.attack(height, first) for height in range(1, 7)]
    assert names == [None, None, "scale", "scale", None, None]
    assert found.attack(1, second) == "nan"
    assert found.attack(3, nobody) is None
    assert not found.acts(2, np.array([first, nobody]))
    assert found.acts(3, np.array([first, nobody]))
    assert not found.acts(3, np.array([nobody]))


# --- what each attack sends -----------------------------------------------------------------------


def honest(seed: int = 0) -> list[Upload]:
    rng = np.random.default_rng(seed)
    uploads = []
    for client in range(M):
        touched = rng.random(N) < 0.6
        A = np.where(touched, rng.standard_normal((R, N)), 0).astype(np.float32)
        uploads.append(Upload(client, A, touched, 10 + client))
    return uploads


def scene(**changes: Any) -> Scene:
    rng = np.random.default_rng(9)
    plain = {
        "height": 7,
        "honest": honest(1),
        "clients": 2 * M,
        "P": rng.standard_normal((M, D)).astype(np.float32),
        "Q": rng.standard_normal((N, D)).astype(np.float32),
        "B": basis("seeded", D, R, b"x"),
        "exchange": exchange(R, N, "per_item"),
        "generator": np.random.default_rng(3),
        "train_flipped": lambda: None,
        "earlier": [],
        "genesis": b"genesis",
    }
    return Scene(**(plain | changes))


def forged(name: str, at: Scene | None = None, **options: Any) -> list[Upload]:
    return list(ATTACKS[name](**options).forge(honest(), at or scene()))


def test_simple_attacks_multiply_or_replace_what_was_learnt() -> None:
    for name, factor in (("sign_flip", -4.0), ("scale", 10.0)):
        for one, was in zip(forged(name), honest(), strict=True):
            assert np.array_equal(one.A, np.float32(factor) * was.A)
            assert np.array_equal(one.touched, was.touched)
    noise = np.stack([one.A for one in forged("gaussian", deviation=3.0, everywhere=True)])
    assert noise.std() == pytest.approx(3.0, rel=0.2)
    assert all(one.touched.all() for one in forged("gaussian", everywhere=True))
    assert all(not one.A[:, ~one.touched].any() for one in forged("gaussian"))


def test_mean_and_deviation_are_over_those_who_touched() -> None:
    uploads = honest()
    mean, deviation = mean_and_deviation(uploads)
    for i in range(N):
        rows = np.array([one.A[:, i] for one in uploads if one.touched[i]]).reshape(-1, R)
        assert mean[:, i] == pytest.approx(rows.mean(axis=0) if len(rows) else 0.0)
        assert deviation[:, i] == pytest.approx(rows.std(axis=0) if len(rows) else 0.0)


def test_alie_stays_z_deviations_from_the_colluders_own_mean() -> None:
    mean, deviation = mean_and_deviation(honest())
    for one in forged("alie", z=1.5, everywhere=True):
        assert np.allclose(one.A, mean - 1.5 * deviation, atol=1e-5)
    for one, was in zip(forged("alie"), honest(), strict=True):
        assert np.array_equal(one.touched, was.touched)
        assert not one.A[:, ~was.touched].any()


@pytest.mark.parametrize(("n", "m", "z"), [(50, 24, 1.43), (60, 12, 0.26), (10, 5, 0.84)])
def test_alie_takes_z_from_its_paper(n: int, m: int, z: float) -> None:
    # s = floor(n/2 + 1) - m honest updates must be farther; z = quantile of (n - m - s) / (n - m).
    assert ALittleIsEnough().deviations(n, m) == pytest.approx(z, abs=0.01)


def test_ipm_turns_the_mean_of_the_honest_around() -> None:
    mean, _ = mean_and_deviation(honest(1))
    for one in forged("ipm", epsilon=2.0, everywhere=True):
        assert np.allclose(one.A, -2.0 * mean, atol=1e-5)
    assert forged("ipm", scene(honest=[]))  # a round of colluders alone


def test_push_brings_targets_above_the_bar_of_the_colluders_lists() -> None:
    at = scene()
    uploads = forged("push", at, items=(3, 8), k=5, steps=2000, boost=1.0)
    for one, was in zip(uploads, honest(), strict=True):
        assert one.touched[[3, 8]].all()
        others = np.delete(np.arange(N), [3, 8])
        assert np.array_equal(one.A[:, others], was.A[:, others])
        assert np.array_equal(one.A[:, [3, 8]], uploads[0].A[:, [3, 8]])
    before, after = at.P @ at.Q.T, at.P @ (at.Q + (at.B @ uploads[0].A).T).T
    bar = np.sort(np.delete(before, [3, 8], axis=1), axis=1)[:, -5]
    for target in (3, 8):
        assert (after[:, target] - bar).mean() > (before[:, target] - bar).mean() + 0.5
    boosted = forged("push", at, items=(3, 8), k=5, steps=2000)
    assert boosted[0].A[:, 3] == pytest.approx(2 * uploads[0].A[:, 3])  # 10 clients, 5 colluders
    assert Push(items=(3, 8)).targets() == (3, 8)


def test_push_has_nothing_to_move_where_all_items_are_its_targets() -> None:
    for one in forged("push", items=tuple(range(N))):
        assert not one.A.any()


def test_forgeries_break_one_rule_each() -> None:
    assert [one.samples for one in forged("inflated_samples")] == [100, 110, 120, 130, 140]
    # A message holds integers of 64 bits: one of 10^31 ended the run instead of being refused.
    assert {one.samples for one in forged("inflated_samples", factor=1e30)} == {2**63 - 1}
    assert {one.age for one in forged("stale_round")} == {1}
    assert {one.parent for one in forged("stale_round", place="parent")} == {b"genesis"}
    assert {one.parent for one in forged("stale_round", scene(height=1), place="parent")} == {None}
    assert Counter(one.client for one in forged("two_updates")) == dict.fromkeys(range(M), 2)
    for value in ("nan", "inf"):
        assert not any(np.isfinite(one.A).any() for one in forged("nan", value=value))
    larger = Exchange.low_rank(aggregator_named("per_item"), R + 1, N)
    for one in forged("wrong_shape"):
        assert one.payload is not None
        assert len(one.payload) == larger.payload_size
    again = forged("replay", scene(earlier=[(3, "message")]))[M:]
    assert [(one.client, one.message) for one in again] == [(3, "message")]


# --- in a run -------------------------------------------------------------------------------------

REFUSED = {
    "inflated_samples": "sample count",
    "replay": "stale",
    "stale_round": "stale",
    "stale_round, place: parent": "other parent",
    "two_updates": "second update",
    "nan": "not all numbers are finite",
    "wrong_shape": "bytes instead of",
}


def rounds(*overrides: str, count: int = 4) -> tuple[Counter[str], Counter[str], int]:
    """Refusals and malicious updates of some rounds, and how many of the latter got into blocks."""
    config = load(None, [*SMALL, *overrides])
    federation = Federation(config, prepare(config.data))
    refused: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    aggregated = 0
    for _ in range(count):
        played = federation.play_round()
        refused.update(played.result.refused)
        sent.update(played.malicious)
        aggregated += played.malicious_aggregated
    federation.close()
    return refused, sent, aggregated


@pytest.mark.parametrize("name", list(REFUSED))
def test_servers_refuse_and_count_what_breaks_a_rule(name: str) -> None:
    refused, sent, aggregated = rounds(malicious(f"attack: {name}, share: 0.3, from: 2"))
    fired = sent[name.split(",")[0]]
    assert fired >= 5
    reason = next(reason for reason in refused if REFUSED[name] in reason)
    assert refused[reason] >= 4
    assert aggregated == (0 if name != "replay" else fired - refused[reason])


ELSEWHERE = {"mask_violation"}
"""The attacks that need secure aggregation (tests/bfedrec/federation/test_masked_rounds.py)."""


@pytest.mark.parametrize(
    "name", [*sorted(set(ATTACKS) - {n.split(",")[0] for n in REFUSED} - ELSEWHERE)]
)
def test_well_formed_poison_is_aggregated(name: str) -> None:
    refused, sent, aggregated = rounds(malicious(f"attack: {name}, share: 0.3, from: 2"))
    assert sum(refused.values()) == 0
    assert sent[name] == aggregated >= 5


def test_no_draw_of_an_honest_run_is_moved(tmp_path: Path) -> None:
    plain = play(tmp_path / "plain")
    late = play(tmp_path / "late", malicious("attack: gaussian, share: 0.5, from: 13"))
    for name in ("model.safetensors", "ranks.npz"):
        assert (tmp_path / "late" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert late["simulated_seconds"] == plain["simulated_seconds"]
    assert plain["malicious_updates"] == late["malicious_updates"] == 0
    assert "er@10" not in plain


def test_two_updates_of_a_client_go_to_two_servers() -> None:
    config = load(None, [*SMALL, malicious("attack: two_updates, share: 1")])
    federation = Federation(config, prepare(config.data))
    clients = np.arange(10)
    sent = federation.cohorts.trained(federation.world.head, clients, None)
    arrivals = federation.uplink.arrivals_of(sent, clients, np.arange(10.0))
    federation.close()
    assert len(sent) == len(arrivals) == 20
    for client in clients:
        first, second = (arrivals[2 * client], arrivals[2 * client + 1])
        assert first.time == second.time == client
        assert first.server == federation.links.server[client] != second.server
        assert first.update() is sent[2 * client][1]


def test_only_honest_users_are_asked_about_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def watched(P: Any, Q: Any, data: Any, targets: Any, k: int, mask: Any, threads: Any) -> Any:
        asked.append(mask)
        return expose(P, Q, data, targets, k, mask, threads)

    monkeypatch.setattr("bfedrec.federation.scoring.expose", watched)
    play(tmp_path, malicious("attack: push, share: 0.25, items: [3]"), "rounds=1")
    assert asked
    assert all(mask.sum() == 60 for mask in asked)


def test_a_model_that_an_attack_destroyed_ends_the_run_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        Diverged, match=r"round \d+: .*or malicious clients have destroyed the model"
    ):
        play(tmp_path, malicious("attack: scale, share: 0.5, factor: 1.0e+12"))


MIX = (
    malicious(
        "attack: replay, share: 0.2",
        "attack: alie, share: 0.2, until: 7",
        "attack: gaussian, share: 0.1, from: 3",
        "attack: push, share: 0.1, items: [3, 4]",
        "attack: label_flip, share: 0.1",
        "attack: two_updates, share: 0.1, from: 5, until: 6",
    ),
    "aggregation.rule=trimmed_mean",
    "aggregation.malicious_permille=250",
    "ledger.retain_updates=all",
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("mixed")
    return path, play(path, *MIX)


def test_same_seed_same_head_under_any_mix(
    mixed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    path, summary = mixed
    assert lasting(play(tmp_path, *MIX)) == lasting(summary)
    assert metrics(tmp_path) == metrics(path)
    assert summary["malicious_updates"] > summary["malicious_updates_aggregated"] > 0
    assert 0.0 <= summary["er@10"] <= 1.0
    assert all("er@10" in line for line in metrics(path))


def test_an_audit_recomputes_the_aggregates_of_a_robust_rule(
    mixed: tuple[Path, dict[str, Any]],
) -> None:
    path, _ = mixed
    assert audit_command(path) == 0

    def deaf(genesis: Genesis, initial: bytes) -> Any:
        """As an audit that did not know the rule's parameters."""
        model = build(genesis, initial)
        model.exchange = replace(model.exchange, rule=aggregator_named("trimmed_mean"))
        return model

    with SqliteStore(path / "chain.sqlite", read_only=True) as store:
        assert audit(store, build).aggregates == 12
        with pytest.raises(AuditFailure, match="aggregate"):
            audit(store, deaf)


# --- what it does to the model, and what rules do about it ----------------------------------------

LEARNING = (
    "data.dataset=synthetic",
    "rounds=120",
    "model.dimension=16",
    "training.item_step=1.0",
    "training.user_step=1.0",
    "training.user_epochs=1",
    "clients.per_round=60",
    "training.final_step=0.2",
)


def learnt(*overrides: str) -> tuple[float, float]:
    """Validation HR@10 and ER@10 of item 7 after the learning half of a run."""
    config = load(None, [*LEARNING, *overrides])
    data = prepare(config.data)
    found: Learner = learn(config, data)
    plans, streams = config.clients.malicious, Streams(config.seed)
    asked = Adversary(plans, data.users, streams, b"", config.servers.count).honest
    hr = evaluate(found.P, found.Q, data, "validation", full=False).of("hr").mean()
    return float(hr), float(expose(found.P, found.Q, data, [7], 10, asked).er[0])


FLIPPED = malicious("attack: sign_flip, share: 0.2, factor: 10")
PUSHED = malicious("attack: push, share: 0.05, items: [7]")


@pytest.fixture(scope="module")
def undefended() -> tuple[float, float, float]:
    """HR of an honest run and of a poisoned one, and ER of a pushed one, all with plain means."""
    hr, er = learnt()
    assert hr > 0.7
    assert er < 0.2
    return hr, learnt(FLIPPED)[0], learnt(PUSHED)[1]


@pytest.mark.parametrize(
    "rule", ["clip", "clip_items", "median", "trimmed_mean", "multi_krum", "geometric_median"]
)
def test_poison_ruins_a_mean_and_not_a_robust_rule(
    undefended: tuple[float, float, float], rule: str
) -> None:
    honest_hr, poisoned_hr, _ = undefended
    assert poisoned_hr < 0.3
    assert learnt(FLIPPED, f"aggregation.rule={rule}")[0] > (honest_hr + poisoned_hr) / 2


@pytest.mark.parametrize("rule", ["clip_items", "median", "trimmed_mean", "multi_krum"])
def test_push_exposes_its_target_unless_a_robust_rule_stands_in_its_way(
    undefended: tuple[float, float, float], rule: str
) -> None:
    assert undefended[2] > 0.8
    assert learnt(PUSHED, f"aggregation.rule={rule}")[1] < 0.2
