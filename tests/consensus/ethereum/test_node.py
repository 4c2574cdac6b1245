"""A node that answers anything: errors in one line, of one kind, whatever it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consensus.ethereum.artefact import artefact
from consensus.ethereum.errors import EthereumError, Reverted
from consensus.ethereum.node import Node
from consensus.ethereum.records import Model
from consensus.ethereum.registry import Registry
from tests.consensus.ethereum.scene import ANNA, INITIAL, OPERATOR, deploy, model
from tests.helpers.ethereum import serving

HEX = st.sampled_from(["0x", "0x0", "0x1", "0x" + "00" * 20, "0x" + "11" * 32, "0x" + "ff" * 64])
TEXTS = HEX | st.text(max_size=6) | st.builds(lambda data: f"0x{data.hex()}", st.binary())
KEYS = st.sampled_from(
    [
        *("number", "hash", "transactions", "timestamp", "baseFeePerGas", "status", "gasUsed"),
        *("blockNumber", "transactionHash", "logs", "topics", "data", "address", "logIndex"),
        *("from", "to", "contractAddress", "code", "message"),
    ]
)
ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**70) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=10,
)
REPLIES = st.one_of(
    st.fixed_dictionaries({"result": ANSWERS}),
    st.fixed_dictionaries({"error": ANSWERS}),
    st.fixed_dictionaries(
        {"error": st.fixed_dictionaries({"code": st.just(3), "message": TEXTS, "data": ANSWERS})}
    ),
    ANSWERS,
)


class Lying:
    """A provider whose replies are drawn, but for the first few, which are right."""

    def __init__(self, honest: Any, replies: list[Any], after: int) -> None:
        self._honest, self._replies, self._after = honest, list(replies), after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)

    def request_func(self, w3: Any, middleware: Any) -> Any:
        return lambda method, params: self.make_request(method, params)

    def make_request(self, method: str, params: Any) -> Any:
        if self._after > 0:
            self._after -= 1
            return self._honest.make_request(method, params)
        reply = self._replies.pop(0) if self._replies else {"result": None}
        return {"jsonrpc": "2.0", "id": 1, **reply} if isinstance(reply, dict) else reply


@pytest.mark.filterwarnings("ignore:There was an issue with the method")
@settings(max_examples=50)
@example([{"result": None}], 0, 1)  # no number of the last block
@given(st.lists(REPLIES, min_size=1, max_size=4), st.integers(0, 5), st.integers(0, 6))
def test_whatever_a_node_says_is_an_error_in_one_line_or_an_answer(
    embedded: Node, replies: list[Any], after: int, act: int
) -> None:
    registry = known(embedded)
    node = Node(embedded.url, patience=0.2)
    lied = Registry(node, registry.address)
    node.web3.provider = Lying(node.web3.provider, replies, after)  # type: ignore[assignment]
    acts = [
        lambda: lied.read_round(1),
        lambda: lied.record(),
        lambda: lied.publication_of(ANNA.address, 1),
        lambda: lied.next_merchants(),
        lambda: lied.admit(OPERATOR, "0x" + "12" * 20),
        lambda: Registry(node, registry.address),
        lambda: lied.publish(ANNA, 1, INITIAL.digest, Model(b"cid", b"\x01" * 32), 1),
    ]
    told = ""
    try:
        acts[act]()
    except EthereumError as error:
        told = str(error)
    assert "\n" not in told
    assert len(told) < 500


@pytest.mark.parametrize(
    ("field", "value"), [(0, 7), (1, True), (2, (b"\0" * 32, b"")), (6, (b"\1" * 32, b"cid"))]
)
def test_what_no_contract_tells_of_a_round_is_an_error(
    embedded: Node, monkeypatch: pytest.MonkeyPatch, field: int, value: object
) -> None:
    """Its number, whether it is closed, its parent, its aggregate."""
    registry = known(embedded)
    found = list(registry._call("readRound", 1))
    found[field] = value
    monkeypatch.setattr(registry, "_call", lambda *given: found)
    with pytest.raises(EthereumError, match="what it tells as round 1 is none"):
        registry.read_round(1)


REGISTRIES: list[Registry] = []


def known(node: Node) -> Registry:
    """One registry for all examples."""
    if not REGISTRIES:
        REGISTRIES.append(deploy(node))
    return REGISTRIES[0]


@pytest.mark.parametrize(
    "data", ["0x", "0x12", "0xzz", "0x12345678", "0xbcbd8820", "0xbcbd8820" + "ff" * 64]
)
def test_revert_data_that_is_no_refusal_is_told(embedded: Node, data: str) -> None:
    error = embedded._refusal(data)
    assert type(error) is Reverted
    assert "\n" not in str(error)


def test_the_selectors_are_those_of_the_errors(embedded: Node) -> None:
    declared = {str(each["name"]) for each in artefact().abi if each["type"] == "error"}
    assert {name for name, _ in embedded._errors.values()} == declared


def test_a_node_cannot_have_an_account_pay_whatever_it_says() -> None:
    """What a unit of gas costs is asked of the node."""
    with serving() as server:
        node = Node(server.url)
        registry = deploy(node)
        before = node.web3.eth.get_balance(ANNA.address)
        server.chain.tip = 10**18
        with pytest.raises(EthereumError, match="ether; at most 1 is paid"):
            registry.publish(ANNA, 1, INITIAL.digest, model("one"), 5)
        assert node.web3.eth.get_balance(ANNA.address) == before
        server.chain.tip = 10**12
        registry.publish(ANNA, 1, INITIAL.digest, model("one"), 5)
        assert before - 10**18 < node.web3.eth.get_balance(ANNA.address) < before
