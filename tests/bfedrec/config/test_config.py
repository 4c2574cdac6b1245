"""An experiment's config: what is read, what is refused and in which words, what is written."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.aggregation.registry import AGGREGATORS
from bfedrec.aggregation.settings import AggregationSettings
from bfedrec.compression.registry import CODECS
from bfedrec.compression.settings import CompressionSettings
from bfedrec.config.centralised import READ
from bfedrec.config.help import help_text, options
from bfedrec.config.load import config_hash, departures, differences, dump, load, parse
from bfedrec.config.schema import FIRST_DEFAULTS, Config
from bfedrec.config.servers import PAPERS_ATTACK, CommitteeSettings
from bfedrec.config.yaml_core import ConfigError
from bfedrec.federation.participants import Participants
from bfedrec.section import flatten, share_of
from bfedrec.streams import Streams
from consensus.adversary.behaviour import BEHAVIOURS
from consensus.faults.faults import FAULTS
from consensus.protocols.registry import PROTOCOLS
from consensus.records.genesis import _WORDS
from tests.conftest import ROOT
from tests.helpers.another import another, read_under


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path | None, *overrides: str) -> str:
    """The one line with which a config is refused."""
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_file_and_overrides_make_one_config(tmp_path: Path) -> None:
    path = write(tmp_path, "rounds: 20\nmodel:\n  rank: 2\n  dimension: 8\n")
    config = load(path, ["model.rank=8", "servers.stake=[1, 2, 3]", "servers.count=3", *SMALL])
    assert (config.rounds, config.model.rank, config.model.dimension) == (20, 8, 8)
    assert config.servers.stake == (1, 2, 3)
    assert config.committee.vote_seconds == 5.0  # the defaults hold elsewhere


SMALL = ["servers.regions=2", "committee.size=3"]


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, "# nothing\n")) == load(None)


def test_numbers_are_those_a_person_means() -> None:
    config = load(None, ["training.item_step=1e-3", "training.l2=.5e-1", "servers.jitter=0"])
    assert (config.training.item_step, config.training.l2) == (0.001, 0.05)
    assert config.servers.jitter == 0.0
    assert load(None, ["name=no"]).name == "no"  # YAML 1.1 reads it as false
    assert load(None, ["seed=010"]).seed == 10  # ... and this as 8


def test_anchors_are_allowed_and_overriding_one_use_leaves_the_other(tmp_path: Path) -> None:
    path = write(tmp_path, "rounds: &many 30\nclients: {per_round: *many}\n")
    assert load(path).clients.per_round == 30
    assert load(path, ["rounds=7"]).clients.per_round == 30


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("model.rnk=3", ["model.rnk: unknown key", "'model.rank'"]),
        ("rank=3", ["rank: unknown key", "'model.rank'"]),
        ("trainig.item_step=1", ["trainig: unknown key", "'training'"]),
        ("zzz=1", ["zzz: unknown key", "training"]),
        (
            "privacy.dp.on=true",
            ["'ledger.incentives.on'?", "privacy.dp has adjacency, clip, delta, epsilon"],
        ),
        ("model.basis=seded", ["model.basis: 'seded'", "seeded | svd | fixed", "mean 'seeded'"]),
        ("model.rank=0", ["model.rank: 0", "int >= 1"]),
        ("rounds=true", ["rounds: True", "int >= 1"]),
        ("rounds='3'", ["rounds: '3'", "int"]),
        ("rounds=3.0", ["rounds: 3.0", "int"]),
        ("evaluation.full_ranking=1", ["evaluation.full_ranking: 1", "true | false"]),
        ("training.item_step=.nan", ["training.item_step: nan", "float > 0", "finite"]),
        ("servers.jitter=.inf", ["servers.jitter: inf", "finite"]),
        ("model=3", ["model: 3", "a section"]),
        ("model.rank.deep=3", ["model.rank: {'deep': 3}", "int"]),
        ("servers.stake=[1, a]", ["servers.stake: [1, 'a']", "equal | pareto | list of int"]),
        ("device=gpu", ["device: 'gpu'", "cuda"]),
        ("training.chunk_mib=64", ["training.chunk_mib: 64", "1024, as device is cpu"]),
        ("name=a/b", ["name: 'a/b'"]),
        ("rounds=[1", ["rounds, line 1", "']'"]),
        ("model.rank=65", ["model.rank: 65", "at most model.dimension = 64"]),
        (
            "training.virtual_mean_share=0.5",
            ["training.virtual_mean_share: 0.5", "expected 0.1, as training.virtual_share is 0"],
        ),
        ("training.virtual_share=-1", ["training.virtual_share: -1", "float >= 0"]),
        ("compression.size=3", ["compression.size: 3", "null or model.rank = 4"]),
        ("compression.downlink=dense", ["compression.downlink: 'dense'", "same, as"]),
        ("compression.kind=topk", ["compression.kind: 'topk'", "did you mean 'top_k'?"]),
        ("committee.size=31", ["committee.size: 31", "at most servers.count = 30"]),
        ("servers.malcious=[gaussian]", ["servers.malcious: unknown key", "malicious"]),
        ("servers.malicious=31", ["servers.malicious: 31", "30 of them at most"]),
        ("servers.malicious=-1", ["servers.malicious: -1", "a number or share of servers"]),
        ("servers.malicious=4/3", ["servers.malicious: share: expected", "from 0 to 1", "'4/3'"]),
        ("servers.malicious=silnt:1/3", ["'silnt' (did you mean silent?)", "gaussian"]),
        ("servers.malicious=true", ["servers.malicious: True", "list of {...}"]),
        ("servers.malicious=[gaussian]", ["servers.malicious: ['gaussian']", "list of {...}"]),
        *(
            (f"servers.malicious=[{{{group}}}]", ["servers.malicious: ", *parts])
            for group, parts in (
                ("behaviour: gausian, share: 1/3", ["'gausian' (did you mean gaussian?)"]),
                ("behaviour: [gaussian, [silent]], share: 1/3", ["['silent']", "known are"]),
                ("behaviour: [], share: 1/3", ["behaviour: expected one or several of", "silent"]),
                ("share: 1/3", ["behaviour: expected one or several of", "gaussian", "None"]),
                ("behaviour: silent, shre: 1/3", ["'shre' (did you mean share?)"]),
                ("behaviour: silent, share: .nan", ["share: expected a finite number, got nan"]),
                ("behaviour: silent", ["either a share", "or servers by index"]),
                ("behaviour: silent, servers: [30]", ["there is no server 30, only 0-29"]),
                (
                    "behaviour: silent, servers: [3], placement: region",
                    ["placement is for a share"],
                ),
                ("behaviour: silent, share: 0.1, placement: rgion", ["region", "'rgion'"]),
                ("behaviour: silent, share: 0.1, from: 0", ["from: expected a height, from 1"]),
                ("behaviour: silent, share: 0.1, until: 1.5", ["until: expected a height", "1.5"]),
                ("behaviour: silent, share: 0.1, from: 5, until: 4", ["until (4)", "from (5)"]),
            )
        ),
        (
            "servers.malicious=[{behaviour: rush, share: 0.7}, {behaviour: spam, share: 0.7}]",
            ["21 servers are asked for where 9 of 30 are left"],
        ),
        (
            "protocol=papr",
            ["protocol: 'papr'", "bft | hotstuff | paper | tendermint", "mean 'paper'"],
        ),
        ("crypto=fake", ["crypto: 'fake'", "real | modelled"]),
        ("committee.settle_seconds=-1", ["committee.settle_seconds: -1", "float >= 0"]),
        ("committee.resend_seconds=0", ["committee.resend_seconds: 0", "float >= 0.001"]),
        ("clients.retry_seconds=0", ["clients.retry_seconds: 0", "float >= 0.001"]),
        ("faults={loss: 0.1}", ["faults: {'loss': 0.1}", "list of {...}"]),
        *(
            (f"faults=[{{{fault}}}]", ["faults: ", *parts])
            for fault, parts in (
                ("los: 0.1", ["exactly one of loss, delay,", "got los (did you mean loss?)"]),
                ("", ["exactly one of loss, delay,", "got nothing"]),
                ("loss: 0.1, delay: 3", ["exactly one of", "got loss, delay"]),
                ("loss: 2", ["loss: expected a share, above 0 and at most 1, got 2"]),
                ("loss: .nan", ["loss: expected a finite number, got nan"]),
                ("loss: 0.1, form: 3", ["no option 'form', allowed are from, until, servers"]),
                ("loss: 0.1, from: 5, until: 4", ["until (4 s) must be later than from (5 s)"]),
                (
                    "loss: 0.1, from: -5",
                    ["from: expected a time in seconds, from 0 to 1e+09, or infinite, got -5"],
                ),
                ("loss: 0.1, until: .inf", ["leave it out for what never ends"]),
                ("churn: 0.1", ["churn: say until when"]),
                ("partition: [[1], [1]]", ["a server stands twice in [1, 1]"]),
                ("partition: [[0], [40]]", ["{'partition': [[0], [40]]}", "no server 40", "29"]),
                ("crash: [30]", ["{'crash': [30]}", "there is no server 30", "0 to 29"]),
                ("eclipse: 0, sees: 31", ["there is no server 31", "0 to 29"]),
            )
        ),
        ("servers.stake=[1, 2]", ["servers.stake: [1, 2]", "servers.count = 30"]),
        ("data.csv.header=false", ["data.csv", "0-based"]),
        ("rank", ["'rank'", "key=value"]),
        ("=1", ["'=1'", "key=value"]),
        ("a..b=1", ["'a..b=1'", "key=value"]),
    ],
)
def test_a_bad_override_is_one_line_naming_key_value_and_what_is_allowed(
    override: str, parts: list[str]
) -> None:
    line = refused(None, override)
    for part in ["command line", *parts]:
        assert part in line


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("roundz: 3\n", ["roundz: unknown key", "'rounds'"]),
        ("rounds: 3\nseed: 1\nrounds: 4\n", ["line 3", "'rounds' is given twice"]),
        ("model: {rank: 1, rank: 2}\n", ["'rank' is given twice"]),
        ("- 1\n", ["a list"]),
        ("just words\n", ["key: value"]),
        ("rounds: [1\n", ["line 2"]),
        ("a: b: c\n", ["line 1"]),
        ("? [1, 2]\n: 3\n", ["plain word"]),
        ("rounds: !!python/name:os.system x\n", ["line 1"]),
        ("seed: !!binary aGk=\n", ["plain numbers"]),
        ("rounds: &loop [*loop]\n", ["line 1", "within what it stands for"]),
        ("[" * 3000, ["nested deeper than 32 levels"]),
        ("\x00", ["not YAML"]),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = write(tmp_path, text)
    line = refused(path)
    for part in [str(path), *parts]:
        assert part in line


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert "missing.yaml: cannot be read" in refused(tmp_path / "missing.yaml")
    assert "cannot be read" in refused(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"name: \xff\n")
    assert "UTF-8" in refused(path)


def said(read: Callable[[], object]) -> str:
    """What a reading is refused with; empty where it is not."""
    try:
        read()
    except ConfigError as error:
        return str(error)
    return ""


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.text("ab:[]{}&*!|>-'\"\n #,.=0123", max_size=60))
def test_no_text_ends_in_anything_but_a_config_or_one_line(text: str) -> None:
    assert "\n" not in said(lambda: parse(text, "here"))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["", *options()]), st.text(max_size=20))
def test_no_override_ends_in_anything_but_a_config_or_one_line(key: str, value: str) -> None:
    assert "\n" not in said(lambda: load(None, [f"{key}={value}"]))


@pytest.mark.parametrize(
    ("share", "count", "number"),
    [
        ("1/3", 30, 10),
        ("1/3", 100, 33),
        (0.1, 30, 3),
        (0.29, 100, 29),
        (1.0, 7, 7),
        ("0.25", 10, 2),
    ],
)
def test_a_share_is_exact_and_rounded_down(share: str | float, count: int, number: int) -> None:
    assert share_of(share, count) == number


def malicious(*overrides: str) -> dict[int, tuple[str, ...]]:
    """The malicious servers that a config of thirty describes, and their behaviours."""
    found = Participants(load(None, overrides), Streams(0)).malicious()
    assert list(found) == sorted(found)
    return {index: behaviour.names for index, behaviour in found.items()}


@pytest.mark.parametrize("value", ["10", "1/3", "0.34", "gaussian+invert_votes:1/3"])
def test_a_number_or_share_of_servers_does_what_the_papers_do(value: str) -> None:
    found = malicious(f"servers.malicious={value}")
    assert len(found) == 10
    assert set(found.values()) == {PAPERS_ATTACK}
    assert found == malicious(
        "servers.malicious=[{behaviour: [gaussian, invert_votes], share: 1/3}]"
    )
    assert len(malicious(f"servers.malicious={value}", "servers.count=31")) == 10


def test_no_server_is_malicious_unless_asked_for() -> None:
    for nobody in ([], ["servers.malicious=0"], ["servers.malicious=[]"]):
        assert load(None, nobody).servers.malicious == ()
        assert malicious(*nobody) == {}


def test_groups_of_malicious_servers_are_dealt_and_add_up() -> None:
    found = malicious(
        "servers.malicious=[{behaviour: silent, share: 1/3}, {behaviour: [rush, spam], share: 0.1},"
        " {behaviour: grind, servers: [4, 9]}, {behaviour: withhold, servers: [9], from: 3}]"
    )
    assert found[4] == ("grind",)
    assert found[9] == ("grind", "withhold")
    names = list(found.values())
    assert (names.count(("silent",)), names.count(("rush", "spam"))) == (10, 3)
    assert len(found) == 10 + 3 + 2


@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
def test_every_behaviour_has_a_name_that_a_config_knows(name: str) -> None:
    config = load(None, [f"servers.malicious=[{{behaviour: {name}, share: 1/3, from: 2}}]"])
    assert config == parse(dump(config), "dump")
    assert set(malicious(f"servers.malicious={name}:1/3").values()) == {(name,)}


def test_every_fault_is_read_and_kept_as_it_is_written() -> None:
    written = [
        "{loss: 0.1}",
        "{delay: 0.2, servers: [1, 2]}",
        "{reorder: 0.1, seconds: 0.5}",
        "{duplicate: 0.1, servers: 1/3}",
        "{replay: 0.1, after: 3}",
        "{bit_flip: 0.01}",
        "{bandwidth: 0.5, servers: 3}",
        "{partition: [[0, 1], [2]], one_way: true}",
        "{eclipse: 4, sees: [5]}",
        "{crash: 1/3, lost_tail: 2, from: 5, until: 9.5}",
        "{churn: 0.01, down: 3, until: 50}",
        "{slow: 3}",
        "{skew: -1.5, servers: 0.2}",
        "{missing_content: 1/2}",
    ]
    config = load(None, [f"faults=[{', '.join(written)}]"])
    assert [next(iter(node)) for node in config.faults] == list(FAULTS)
    assert parse(dump(config), "dump") == config
    faults = Participants(config, Streams(0)).faults()
    assert faults is not None
    assert [fault.NAME for fault in faults.faults] == list(FAULTS)
    assert Participants(load(None), Streams(0)).faults() is None


def test_an_option_at_its_default_is_named_with_it() -> None:
    line = refused(None, "aggregation.secure=true")
    assert line.startswith("defaults: aggregation.rule: 'samples': expected one of per_item")


def test_the_paper_knows_only_committees_of_a_fixed_size() -> None:
    line = refused(None, "protocol=paper", "committee.kind=weighted")
    assert line == "command line: committee.kind: 'weighted': expected fixed, as protocol is paper"
    assert load(None, ["committee.kind=weighted"]).protocol == "bft"


def test_a_committee_by_weight_is_given_up_after_some_time() -> None:
    words = ["committee.recovery_seconds=0", "committee.kind=weighted"]
    assert refused(None, *words) == (
        "command line: committee.recovery_seconds: 0: expected more than 0, as committee.kind is "
        "weighted: a committee of two thirds of its expected weight, or less, cannot give up itself"
    )
    assert load(None, words[:1]).committee.recovery_seconds == 0
    assert load(None, words[1:]).committee.recovery_seconds > 0


def test_what_is_dumped_is_read_back_the_same() -> None:
    config = load(None, ["servers.malicious=10", "data.csv.path=some/file.csv", "seed=5"])
    assert parse(dump(config), "dump") == config
    assert flatten(config)["servers.malicious"] == [
        {"behaviour": list(PAPERS_ATTACK), "share": "10/30"}
    ]


@pytest.mark.parametrize("key", sorted(options()))
def test_the_hash_covers_every_option_that_can_affect_results(key: str) -> None:
    readers = [f"method={method}" for method in READ if key in READ[method]]
    method = readers[:1] if key.startswith("centralised.") else list(read_under(key))
    base, changed = load(None, method), load(None, [*method, *another(key)])
    assert key in differences(base, changed)
    without_effect = key in ("name", "seed", "loggers") or key.startswith("store.")
    assert (config_hash(base) == config_hash(changed)) is without_effect


def test_what_is_at_its_first_default_does_not_enter_the_hash() -> None:
    """So that runs recorded before an option came, or its default changed, are found after."""
    first = [f"{key}={value}" for key, value in FIRST_DEFAULTS.items()]
    assert config_hash(load(None, first)) == hashlib.sha256(b"{}").hexdigest()
    changed = load(None, [*first, "model.rank=1"])
    assert config_hash(changed) == hashlib.sha256(b'{"model.rank":1}').hexdigest()
    assert config_hash(parse(dump(changed), "all written out")) == config_hash(changed)


def test_a_default_that_changed_since_enters_the_hash() -> None:
    today = flatten(load(None))
    assert all(today[key] != value for key, value in FIRST_DEFAULTS.items())
    text = json.dumps({key: today[key] for key in FIRST_DEFAULTS}, separators=(",", ":"))
    assert config_hash(load(None)) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("ml-1m", "9dcdbd51"),
        ("ml-1m-per-item", "a7560b7b"),
        ("ml-1m-malicious", "bb2b564b"),
        ("fedmf", "c244a5d5"),
        ("pinterest", "fa36cd0b"),
        ("lfm-2k", "a824d4ee"),
        ("baselines/bpr", "0158060e"),
        ("baselines/item_knn", "3a0a9d21"),
    ],
)
def test_recorded_configs_keep_their_hashes(name: str, digits: str) -> None:
    config = load(ROOT / "experiments" / f"{name}.yaml")
    assert config_hash(config)[:8] == digits
    (record, *_) = sorted((ROOT / "results" / "reference").glob(f"*/*-{digits}-s0/config.yaml"))
    assert config_hash(load(record)) == config_hash(config)


def test_a_centralised_method_takes_a_default_of_then_that_it_does_not_read() -> None:
    for rule in ("per_item", "samples"):
        config = load(None, ["method=bpr", f"aggregation.rule={rule}"])
        assert config_hash(config) == config_hash(load(None, ["method=bpr"]))
    with pytest.raises(ConfigError, match=r"aggregation.rule: 'krum': expected 'samples', as meth"):
        load(None, ["method=bpr", "aggregation.rule=krum"])


def test_help_lists_every_option_with_its_type_default_and_description() -> None:
    text = help_text()
    for key, option in options().items():
        assert f"  {key}  ({option.type}; default {option.default})" in text
        assert option.description, key
    assert set(options()) == set(flatten(load(None)))


def test_bounds_that_help_names_are_those_that_hold() -> None:
    for key, option in options().items():
        words = option.type.split()
        for sign, bound in zip(words[1::2], words[2::2], strict=False):
            if sign not in (">=", ">", "<=", "<"):
                continue
            limit = float(bound)
            outside = limit - 1 if sign.startswith(">") else limit + 1
            if sign in ("<", ">"):
                outside = limit
            value = int(outside) if words[0] == "int" else outside
            assert not math.isnan(outside)
            assert f"{key}: {value}: expected" in refused(None, f"{key}={value!r}"), key


def test_virtual_items_are_for_cross_entropy_by_sample() -> None:
    with pytest.raises(ConfigError, match=r"virtual_share: 1: expected 0, as training.loss is so"):
        load(None, ["training.virtual_share=1", "training.loss=softmax"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["compression.kind=dense", "compression.size=4"], "null or model.dimension = 64"),
        (["compression.kind=dense", "compression.downlink=dense"], "same, as compression.kind is"),
        (["compression.kind=svd", "compression.size=65"], "at most model.dimension = 64"),
        (["compression.kind=svd", "model.rank=65"], "at most model.dimension = 64"),
        (["compression.kind=quantised", "compression.size=1", "model.rank=9"], "at most 8, so"),
        (
            ["compression.kind=quantised", "compression.size=9", "model.rank=65"],
            "rank: 65: .* = 64",
        ),
        *(
            ([f"compression.kind={kind}", "compression.size=5"], "size: 5: .* model.rank = 4$")
            for kind in ("quantised", "ternary", "levels")
        ),
    ],
)
def test_transmitted_sizes_fit_the_kind(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(None, overrides)


def test_the_transmitted_size_is_the_rank_unless_told() -> None:
    for overrides, size in (
        ([], 4),
        (["compression.size=4"], 4),
        (["compression.kind=svd", "model.rank=2"], 2),
        (["compression.kind=top_k", "compression.size=8"], 8),
        (["compression.kind=quantised", "compression.size=4", "model.rank=56"], 4),
        (["compression.kind=dense", "model.dimension=2"], 2),
    ):
        config = load(None, overrides)
        found = config.compression.size_for(config.model.dimension, config.model.rank)
        assert found == size


def test_names_in_the_config_are_those_that_the_parts_know() -> None:
    rule = AggregationSettings.options()["rule"].annotation
    assert set(get_args(rule)) == set(AGGREGATORS)
    kind = CompressionSettings.options()["kind"].annotation
    assert set(get_args(kind)) == set(CODECS)
    assert set(PAPERS_ATTACK) <= set(BEHAVIOURS)
    assert set(get_args(Config.options()["protocol"].annotation)) == set(PROTOCOLS)
    for section, key in ((Config, "crypto"), (CommitteeSettings, "kind")):
        field = "committee" if key == "kind" else key
        assert set(get_args(section.model_fields[key].annotation)) == set(_WORDS[field])


# --- a config on top of another -------------------------------------------------------------------


def test_a_base_is_changed_where_the_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 3\nmodel: {dimension: 32, rank: 2}\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "top.yaml").write_text("base: ../base.yaml\nmodel: {rank: 8}\n")
    config = load(tmp_path / "inner" / "top.yaml", ["seed=5"])
    assert (config.seed, config.model.dimension, config.model.rank) == (5, 32, 8)


def test_an_error_names_the_file_and_its_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("model: {rnak: 2}\n")
    (tmp_path / "top.yaml").write_text("base: base.yaml\n")
    with pytest.raises(ConfigError, match=r"top\.yaml \(base .*base\.yaml\): model\.rnak: unknown"):
        load(tmp_path / "top.yaml")


def test_a_base_that_is_not_there_or_goes_round_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    with pytest.raises(ConfigError, match=r"a\.yaml: base: .*b\.yaml: cannot be read"):
        load(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(ConfigError, match="each other's base"):
        load(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("base: [b.yaml]\n")
    with pytest.raises(ConfigError, match="expected the path of another config"):
        load(tmp_path / "a.yaml")


def test_a_file_among_the_overrides_says_what_it_changes(tmp_path: Path) -> None:
    costs = tmp_path / "costs.yaml"
    costs.write_text("costs: {store_put: 0.25}\nrounds: 7\n")
    config = load(None, ["rounds=3", "costs.store_get=0.5", f"@{costs}", "seed=4"])
    assert (config.rounds, config.seed) == (7, 4)
    assert (config.costs.store_put, config.costs.store_get) == (0.25, 0.5)
    assert config.costs.sign == load(None).costs.sign
    costs.write_text("costs: {store_putt: 0.25}\n")
    with pytest.raises(ConfigError, match=r"costs\.yaml: costs\.store_putt: unknown key"):
        load(None, [f"@{costs}"])
    with pytest.raises(ConfigError, match=r"no\.yaml: cannot be read"):
        load(None, [f"@{tmp_path / 'no.yaml'}"])


@pytest.mark.parametrize("text", ["1e-5", "'1e-999999999'", "0x10", "1:30", "no", "~", "12", ".5"])
def test_a_text_that_looks_like_a_number_stays_a_text(text: str) -> None:
    config = load(None, ["data.csv.item='" + text.strip("'") + "'"])
    assert config.data.csv.item == text.strip("'")
    assert parse(dump(config), "saved") == config


def test_departures_are_the_options_that_are_not_at_their_defaults() -> None:
    assert departures(Config()) == []
    config = parse("rounds: 7\nmodel: {dimension: 64, rank: 3}\n", "mine")
    usual = Config()
    assert departures(config) == [("rounds", 7, usual.rounds), ("model.rank", 3, usual.model.rank)]
