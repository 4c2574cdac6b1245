"""Files that nobody of ours has written, drawn by hypothesis: read, or refused in one line.

Each property runs in a process that may take 200 MB more than it has at its start.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.config.help import options
from bfedrec.config.load import dump, load, parse
from bfedrec.config.yaml_core import ConfigError
from bfedrec.runs.claims import build
from consensus.audit import AuditFailure, audit
from consensus.encoding.cid import PROTOBUF, make_cid, node_cid, raw_cid
from consensus.encoding.dag_cbor import encode
from consensus.encoding.unixfs import CHUNK_BYTES, _node, _Subtree, varint
from consensus.storage.archive import import_chain
from consensus.storage.car import CarError
from consensus.storage.content import StoreError
from consensus.storage.sqlite import SqliteStore
from consensus.torture.arena.scenario import BadScenario, Scenario
from tests.helpers.limited import explored
from tests.helpers.toy import Toy

GENESIS = Toy().genesis


def one_line(error: Exception) -> None:
    """Raise AssertionError for an error that people could not read."""
    told = str(error)
    assert "\n" not in told, told
    assert len(told) < 2000, told


# -- archives and chain files ----------------------------------------------------------------------

LEAVES = (b"", b"x", b"end", bytes(CHUNK_BYTES), bytes(CHUNK_BYTES + 1))
SIZES = st.sampled_from([0, 1, 3, CHUNK_BYTES - 1, CHUNK_BYTES, 174 * CHUNK_BYTES, 2**40, 2**62])


@st.composite
def trees(draw: st.DrawFn) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """A root with its blocks: nodes that link any before them any number of times, with sizes that
    are true or not."""
    known = [_Subtree(raw_cid(data), len(data), len(data)) for data in LEAVES]
    blocks = [(raw_cid(data), data) for data in LEAVES]
    for _ in range(draw(st.integers(1, 6))):
        child = draw(st.sampled_from(known[-3:] if draw(st.booleans()) else known))
        children = [child] * draw(st.sampled_from([1, 2, 3, 174, 175]))
        if draw(st.booleans()):
            children[-1] = draw(st.sampled_from(known))
        if draw(st.integers(0, 4)) == 0:
            children[0] = children[0]._replace(content=draw(SIZES), stored=draw(SIZES))
        node = _node(children)
        cid = make_cid(PROTOBUF, node) if draw(st.integers(0, 9)) else raw_cid(node)
        content = min(sum(each.content for each in children), 2**62)
        stored = min(len(node) + sum(each.stored for each in children), 2**62)
        known.append(_Subtree(cid, content, stored))
        blocks.append((cid, node))
    return known[-1].cid, blocks


def car(root: bytes, blocks: list[tuple[bytes, bytes]]) -> bytes:
    header = encode({"roots": [root], "version": 1})
    parts = [(header, b""), *blocks]
    return b"".join(varint(len(cid) + len(data)) + cid + data for cid, data in parts)


@settings(max_examples=150)
@given(trees(), st.binary(max_size=4), st.integers(0, 2**32), st.booleans())
def archives(
    tree: tuple[bytes, list[tuple[bytes, bytes]]], noise: bytes, place: int, spoilt: bool
) -> None:
    model, blocks = tree
    genesis = replace(GENESIS, model=model)
    own = node_cid(genesis.encoded)
    entry = {"height": 0, "previous": None, "head": genesis.cid, "block": own, "updates": []}
    encoded = encode(entry)
    whole = [(own, genesis.encoded), *blocks, (node_cid(encoded), encoded)]
    data = bytearray(car(node_cid(encoded), whole))
    if spoilt:
        place %= len(data)
        data[place : place + len(noise)] = noise
    with tempfile.TemporaryDirectory() as scratch:
        path, chain = Path(scratch, "x.car"), Path(scratch, "chain.sqlite")
        path.write_bytes(data)
        with SqliteStore(chain) as store:
            try:
                import_chain(path, store, lambda done, total: None)
            except CarError as error:
                one_line(error)
                assert store.heights() == store.cids() == []
                return
        with SqliteStore(chain, read_only=True) as store:
            assert len(store.get(model)) <= 2 * len(data) + 2**24
            try:
                audit(store, build)
            except AuditFailure as error:
                one_line(error)


@settings(max_examples=150)
@given(st.integers(0, 2**32), st.integers(1, 40))
def chains(seed: int, changes: int) -> None:
    draw = Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "chain.sqlite")
        with SqliteStore(path) as store:
            genesis = replace(GENESIS, model=store.put(b"model"))
            store.put_block(0, genesis.encoded)
            for height in range(1, 40):
                store.put_block(height, draw.randbytes(200))
                store.put_updates(height, [draw.randbytes(100)])
            store.set_meta("head", genesis.cid)
        data = bytearray(path.read_bytes())
        places = [place for place, byte in enumerate(data) if byte]
        for _ in range(changes):
            data[draw.choice(places)] = draw.choice([0, 1, 2, 5, 13, 127, 128, 255])
        path.write_bytes(data)
        try:
            with SqliteStore(path, read_only=True) as store:
                audit(store, build)
        except (AuditFailure, StoreError) as error:
            one_line(error)


# -- configs ---------------------------------------------------------------------------------------

WORDS = (
    "-1 0 1e308 1e-308 .nan -.inf 9E true ~ '' [] {} [[[[]]]] [.nan] 1/0 1e999999999 0x10 - ? x "
    "'1e-999999999' !!binary 1e400 [1 [99999999999] &a [*a] *a {a:1}"
)
ODD = st.sampled_from([*WORDS.split(), "9" * 30, "9" * 5000, "{a: 1}", "&a [*a]", "- -", "'\\0'"])
KEYS = st.sampled_from(sorted(options()))


def loads(*overrides: str, path: Path | None = None) -> None:
    """Load a config; it is refused in one line, or can be saved and read again."""
    try:
        config = load(path, overrides)
    except ConfigError as error:
        one_line(error)
    else:
        assert parse(dump(config), "saved") == config


@settings(max_examples=150)
@given(st.lists(st.tuples(KEYS, ODD | st.text(max_size=8)), min_size=1, max_size=4))
def odd_values(pairs: list[tuple[str, str]]) -> None:
    loads(*(f"{key}={value}" for key, value in pairs))


LEAVES_OF_JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = ("loss", "delay", "crash", "until", "from", "servers", "behaviour", "share")
MAPS = st.recursive(
    LEAVES_OF_JSON,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.sampled_from(["faults", "servers.malicious", "clients.malicious"]), MAPS)
def odd_groups(key: str, value: object) -> None:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    loads(f"{key}={text.removesuffix('...' + chr(10)).strip()}")


@settings(max_examples=150)
@given(st.binary(max_size=200) | st.text("[]{}&*a:, -?|>'\"\n!<%#~1.e", max_size=60))
def odd_texts(content: bytes | str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "odd.yaml")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        loads(path=path)


# -- scenarios -------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from([*Scenario.__dataclass_fields__]), MAPS, max_size=3))
def scenarios(change: dict[str, object]) -> None:
    try:
        scenario = Scenario.from_text(json.dumps({"seed": 0, "servers": 4} | change))
    except BadScenario as error:
        one_line(error)
    else:
        assert Scenario.from_text(scenario.text()) == scenario


PROPERTIES = (archives, chains, odd_values, odd_groups, odd_texts, scenarios)


@pytest.mark.parametrize("test", PROPERTIES, ids=lambda test: test.__name__)
def test_odd_files_are_read_or_refused_in_one_line(test: object) -> None:
    assert callable(test)
    ended = explored(test)
    assert ended.status == 0, ended.out
