"""The embedded chain behind HTTP: bad requests, another process, kill -9, and the same blocks."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.ethereum import embedded as program
from consensus.ethereum.accounts import accounts, from_key, mnemonic
from consensus.ethereum.chain import Chain
from consensus.ethereum.embedded import LONGEST_BODY, Server
from consensus.ethereum.errors import EthereumError, RegistryError
from consensus.ethereum.journal import Journal
from consensus.ethereum.node import Node
from consensus.ethereum.registry import Registry
from consensus.ethereum.rpc import METHODS, answer
from tests.consensus.ethereum.scene import (
    ANNA,
    BEN,
    CLEO,
    DORA,
    FOUNDERS,
    INITIAL,
    OPERATOR,
    close_round,
    deploy,
    model,
)
from tests.helpers.ethereum import ACCOUNTS, serving

ROOT = Path(__file__).resolve().parents[3]
OURS = model("ours")


# --- requests -------------------------------------------------------------------------------------


def post(server: Server, body: bytes, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("POST", "/", body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    status, content = response.status, json.loads(response.read())
    connection.close()
    return status, content


def asked(name: str, *params: object, **fields: object) -> bytes:
    request = {"jsonrpc": "2.0", "id": 1, "method": name, "params": list(params), **fields}
    return json.dumps(request).encode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"", -32700),
        (b"\xff\xfe", -32700),
        (b"[" * 100_000, -32700),
        (b"1" * 5000, -32700),
        (b"[]", -32600),
        (b"null", -32600),
        (asked("eth_chainId", jsonrpc="1.0"), -32600),
        (asked("eth_chainId", id={}), -32600),
        (asked("eth_chainId", id=1.5), -32600),
        (asked("eth_chainId", method=["eth_chainId"]), -32600),
        (asked("eth_mine"), -32601),
        (asked("__class__"), -32601),
        (asked("eth_sendTransaction", {}), -32601),
        (asked("eth_chainId", params={"a": 1}), -32602),
        (asked("eth_getBalance"), -32602),
        (asked("eth_getBalance", "0x12"), -32602),
        (asked("eth_getBalance", 5), -32602),
        (asked("eth_getBalance", "0x" + "zz" * 20), -32602),
        (asked("eth_getBalance", "0x" + "00" * 20, "0x999999"), -32602),
        (asked("eth_getBalance", "0x" + "00" * 20, "0x-1"), -32602),
        (asked("eth_getBalance", "0x" + "00" * 20, "tomorrow"), -32602),
        (asked("eth_getBlockByNumber", "0x" + "1" * 100), -32602),
        (asked("eth_call", "0x"), -32602),
        (asked("eth_call", {"to": "0x" + "00" * 20, "gas": "1"}), -32602),
        (asked("eth_getLogs", []), -32602),
        (asked("eth_getLogs", {"topics": [None] * 5}), -32602),
        (asked("eth_getLogs", {"topics": "0x"}), -32602),
        (asked("eth_getLogs", {"address": ["0x"]}), -32602),
        (asked("eth_sendRawTransaction", "12"), -32602),
        (asked("eth_sendRawTransaction", "0x"), -32000),
        (asked("eth_sendRawTransaction", "0x02c0"), -32000),
        (asked("eth_sendRawTransaction", "0x" + "ff" * 200), -32000),
        (asked("eth_sendRawTransaction", "0x" + "00" * (2**17 + 1)), -32000),
    ],
)
def test_a_bad_request_is_an_error_in_one_line(server: Server, body: bytes, code: int) -> None:
    height = server.chain.height
    status, content = post(server, body)
    assert status == 200
    assert content["error"]["code"] == code
    assert "\n" not in content["error"]["message"]
    assert len(content["error"]["message"]) < 250
    assert server.chain.height == height


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Host": "evil.example"}, 403),
        ({"Content-Length": str(LONGEST_BODY + 1)}, 413),
        ({"Content-Length": "9" * 5000}, 413),
        ({"Content-Length": "-1"}, 411),
        ({"Content-Length": "x"}, 411),
    ],
)
def test_what_a_page_or_a_flood_sends_is_not_read(
    server: Server, headers: dict[str, str], status: int
) -> None:
    assert post(server, asked("eth_chainId"), **headers)[0] == status
    assert post(server, asked("eth_chainId")) == (
        200,
        {"jsonrpc": "2.0", "id": 1, "result": "0x539"},
    )


def test_a_connection_that_ends_early_harms_nobody(server: Server) -> None:
    for sent in (b"POST / HTTP/1.1\r\nHo", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100):
        with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
            connection.sendall(sent)
    assert post(server, asked("eth_chainId"))[0] == 200


def test_connections_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # Waits for those that the tests before have closed: a place that became free later would be
    # ours, for as long as a silent connection may last.
    held = [server._slots.acquire(timeout=30) for _ in range(program.CONNECTIONS)]
    assert all(held)
    try:
        silent = program.IDLE_SECONDS / 2  # after which a connection that is served is still open
        with socket.create_connection(("127.0.0.1", server.server_port), silent) as connection:
            assert connection.recv(1) == b""
    finally:
        for _ in range(sum(held)):
            server._slots.release()
    assert post(server, asked("eth_chainId"))[0] == 200


def test_requests_are_served_one_after_the_other(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits in its method for another to begin, which none may."""
    within: list[int] = []
    together = threading.Event()

    def waiting(chain: Chain, asked: object) -> dict[str, object]:
        within.append(1)
        if sum(within) > 1:
            together.set()
        together.wait(0.1)
        within.append(-1)
        return {}

    monkeypatch.setattr(program, "answer", waiting)
    threads = [threading.Thread(target=post, args=(server, b"{}")) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(within) == 8
    assert not together.is_set()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("0x" + "00" * 20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["to", "from", "data", "topics", "address"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.sampled_from(sorted(METHODS)), st.lists(JSON, max_size=3))
def test_no_parameters_are_a_crash(server: Server, method: str, params: list[object]) -> None:
    request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    told = answer(server.chain, json.loads(json.dumps(request)))
    assert told["id"] == 7
    assert ("result" in told) != ("error" in told)
    json.dumps(told)


def test_logs_are_found_by_address_topic_and_block(embedded: Node) -> None:
    registry = deploy(embedded)
    sent = registry.publish(ANNA, 1, INITIAL.digest, OURS, 1)
    eth = embedded.web3.eth
    address = embedded.address(registry.address)
    event = registry._contract.events.Published
    assert len(eth.get_logs({"address": address, "fromBlock": 0})) == 5
    found = eth.get_logs({"address": [address], "fromBlock": 0, "topics": [event.topic]})
    assert [log["transactionHash"].to_0x_hex() for log in found] == [sent.transaction]
    whole: Any = {"blockHash": found[0]["blockHash"]}
    assert eth.get_logs(whole) == found
    other: Any = [None, None, [b"\x01" * 32, OURS.digest]]
    none: Any = [event.topic, b"\x01" * 32]
    assert len(eth.get_logs({"address": address, "fromBlock": 0, "topics": other})) == 0
    assert len(eth.get_logs({"address": address, "fromBlock": 0, "topics": none})) == 0
    assert eth.get_logs({"address": embedded.address(ANNA.address), "fromBlock": 0}) == []


def test_the_state_of_the_past_is_there(embedded: Node) -> None:
    registry = deploy(embedded)
    sent = registry.publish(ANNA, 1, INITIAL.digest, OURS, 1)
    eth = embedded.web3.eth
    anna = embedded.address(ANNA.address)
    earlier: Any = sent.block - 1
    assert eth.get_transaction_count(anna) == eth.get_transaction_count(anna, earlier) + 1
    assert eth.get_balance(anna) < eth.get_balance(anna, earlier)
    call = registry._contract.functions.readRound(1)
    assert len(call.call(block_identifier=earlier)[4]) == 0
    assert len(call.call()[4]) == 1
    transaction = eth.get_transaction(eth.get_block(sent.block)["transactions"][0])  # type: ignore[arg-type]
    assert (transaction["from"], transaction["nonce"]) == (
        anna,
        eth.get_transaction_count(anna) - 1,
    )


# --- keeping --------------------------------------------------------------------------------------


class Child:
    """The embedded chain as a program."""

    def __init__(self, state: Path, *options: str) -> None:
        command = [sys.executable, "-m", "consensus.ethereum.embedded", "--state", str(state)]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self.process.stdout is not None
        self.node = Node(self.process.stdout.readline().strip())

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(60)


@pytest.fixture
def children() -> Iterator[list[Child]]:
    """Programs that are ended after the test."""
    started: list[Child] = []
    yield started
    for each in started:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)


def test_a_killed_chain_goes_on_in_the_middle_of_a_round(
    tmp_path: Path, children: list[Child]
) -> None:
    """kill -9 after each transaction that was answered: nothing is lost, nothing counted twice."""
    state = tmp_path / "chain.journal"
    children.append(Child(state))
    registry = deploy(children[-1].node)
    registry.publish(ANNA, 1, INITIAL.digest, OURS, 4)
    before = registry.read_round(1), registry.record(), head(registry.node)
    children[-1].end(signal.SIGKILL)
    with state.open("ab") as file:  # what it was writing when it was killed
        file.write(b'{"time": 17672')

    children.append(Child(state, "--real-time"))
    again = Registry(children[-1].node, registry.address)
    assert (again.read_round(1), again.record(), head(again.node)) == before
    with pytest.raises(RegistryError, match="AlreadyPublished"):
        again.publish(ANNA, 1, INITIAL.digest, OURS, 4)
    again.attest(BEN, 1, 1, OURS)
    again.attest(CLEO, 1, 1, OURS)
    last = again.read_round(1), again.record(), head(again.node)
    assert children[-1].end(signal.SIGTERM) == 0

    # The same transactions give the same blocks in a chain that was never ended.
    kept = Chain([each.address for each in accounts(mnemonic(0), 10)], state)
    assert kept.block(kept.height).header.hash.hex() == last[2]
    kept.close()


def head(node: Node) -> str:
    return node.web3.eth.get_block("latest")["hash"].hex()


def test_two_processes_do_not_share_a_state_file(tmp_path: Path) -> None:
    state = tmp_path / "chain.journal"
    funded = [ANNA.address]
    first = Chain(funded, state)
    with pytest.raises(EthereumError, match="in use by another process"):
        Chain(funded, state)
    first.close()
    Chain(funded, state).close()


def kept_chain(path: Path) -> list[str]:
    """The lines of a state file with a deployment and a publication."""
    chain = Chain([each.address for each in ACCOUNTS[:4]], path)
    with serving(chain) as server:
        deploy(Node(server.url)).publish(ANNA, 1, INITIAL.digest, OURS, 4)
    chain.close()
    return path.read_text().splitlines(keepends=True)


def test_a_damaged_state_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "chain.journal"
    lines = kept_chain(path)
    funded = [each.address for each in ACCOUNTS[:4]]
    assert len(lines) == 3
    first, second, third = lines
    other = json.loads(third)
    for content, said in [
        (f"{first}nonsense\n{third}", "line 2 is damaged"),
        (f"{first}[]\n{third}", "line 2 is damaged"),
        (f'{first}{{"time": "1"}}\n', "line 2 is damaged"),
        (f"{first}{third}{second}", "line 2 gives another block"),
        (f"{first}{second}{json.dumps({**other, 'block': '00'})}\n", "line 3 gives another block"),
        (f"{first}{second}{json.dumps({**other, 'time': 1})}\n", "line 3: "),
        (f"{first}{second}{json.dumps({**other, 'raw': 'xx'})}\n", "line 3: "),
        (first.replace("1337", "1338") + second, r"of another chain \(chain\)"),
        ("x" * 2**20, "line 1 is damaged"),
        ("[" * 2**18 + "\n", "line 1 is damaged"),
    ]:
        path.write_text(content)
        with pytest.raises(EthereumError, match=said) as told:
            Chain(funded, path)
        assert "\n" not in str(told.value)
    path.write_text(first + second + third[:-1])
    cut = Chain(funded, path)
    assert cut.height == 1
    cut.close()
    assert path.read_text() == first + second
    with pytest.raises(EthereumError, match=r"of another chain \(genesis\)"):
        Chain(funded[:2], path)


@pytest.mark.parametrize("kind", ["folder", "device", "absent folder"])
def test_what_is_no_file_keeps_no_chain(tmp_path: Path, kind: str) -> None:
    path = {"folder": tmp_path, "device": Path("/dev/zero"), "absent folder": tmp_path / "a" / "b"}
    with pytest.raises(EthereumError, match="state file"):
        Chain([ANNA.address], path[kind])


def test_a_full_disk_refuses_the_transaction_and_the_chain_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chain.journal"
    chain = Chain([each.address for each in ACCOUNTS[:4]], path)
    with serving(chain) as server:
        node = Node(server.url)
        registry = deploy(node)
        before = registry.read_round(1), head(node)

        def full(self: Journal, line: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", full)
            with pytest.raises(EthereumError, match="No space left on device"):
                registry.publish(ANNA, 1, INITIAL.digest, OURS, 4)
        assert (registry.read_round(1), head(node)) == before
        assert registry.publication_of(ANNA.address, 1) is None
        close_round(registry, [ANNA, BEN], OURS)
        last = head(node)
    chain.close()
    again = Chain([each.address for each in ACCOUNTS[:4]], path)
    assert again.block(again.height).header.hash.hex() == last
    again.close()


def test_the_same_seed_gives_the_same_blocks() -> None:
    heads = set()
    for _ in range(2):
        chain = Chain([each.address for each in ACCOUNTS[:4]])
        with serving(chain) as server:
            node = Node(server.url)
            close_round(deploy(node), [ANNA, BEN], OURS)
            heads.add(head(node))
    assert len(heads) == 1


def test_two_programs_at_once_publish_through_one_chain(
    tmp_path: Path, children: list[Child]
) -> None:
    """Each in a process of its own: the chain puts what they send in one order."""
    children.append(Child(tmp_path / "chain.journal"))
    registry = deploy(children[0].node)
    code = (
        "import sys; from tests.consensus.ethereum.scene import *\n"
        "registry = Registry(Node(sys.argv[1]), sys.argv[2])\n"
        "who = ACCOUNTS[int(sys.argv[3])]\n"
        "registry.publish(who, 1, INITIAL.digest, model(sys.argv[3]), 1)\n"
    )
    acting = [
        subprocess.Popen(
            [sys.executable, "-c", code, registry.node.url, registry.address, str(place)], cwd=ROOT
        )
        for place in (1, 2)
    ]
    assert [each.wait(120) for each in acting] == [0, 0]
    assert {each.merchant for each in registry.read_round(1).publications} == {
        ANNA.address,
        BEN.address,
    }


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--state", "/dev/zero"]])
def test_what_cannot_be_begun_is_told_in_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- the connection -------------------------------------------------------------------------------


def test_a_node_that_is_not_there_is_told_in_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(EthereumError, match=f"{url}: no Ethereum node answers") as told:
        Node(url)
    assert "\n" not in str(told.value)


def test_two_threads_of_one_account_take_different_nonces(embedded: Node) -> None:
    """Both read the same nonce; the second is sent again with the next."""
    registry = deploy(embedded)
    signed = embedded.signed
    call = registry._contract.functions.admit(ACCOUNTS[21].address)
    early, tries = signed(OPERATOR, call), 0

    def late(account: Any, call: Any) -> bytes:
        nonlocal tries
        tries += 1
        fresh = signed(account, call)
        if tries == 1:
            embedded.deliver(early)  # which takes the nonce
        return fresh

    embedded.signed = late  # type: ignore[method-assign]
    try:
        registry.admit(OPERATOR, ACCOUNTS[20].address)
    finally:
        del embedded.signed
    assert tries == 2
    assert ACCOUNTS[21].address in registry.next_merchants()
    assert ACCOUNTS[20].address in registry.next_merchants()


def test_an_attestation_that_comes_to_close_the_round_has_the_gas_for_it(embedded: Node) -> None:
    """Ben's is prepared when it is the second of three; Cleo's comes in between."""
    registry = deploy(embedded, [*FOUNDERS, DORA])
    registry.publish(ANNA, 1, INITIAL.digest, OURS, 1)
    registry.attest(ANNA, 1, 1, OURS)
    call = registry._contract.functions.attest(1, 1, OURS.cid, OURS.digest)
    signed = embedded.signed(BEN, call)
    registry.attest(CLEO, 1, 1, OURS)
    registry.deliver(signed)
    assert registry.current_round() == 2


def test_a_private_key_that_is_none_is_not_shown() -> None:
    with pytest.raises(ValueError, match="not a private key") as told:
        from_key("0x1234")
    assert "1234" not in str(told.value)
    assert from_key(bytes(ANNA.key)).address == ANNA.address


def test_founders_are_the_accounts_of_the_seed() -> None:
    assert [each.address for each in accounts(mnemonic(0), 4)[1:]] == [
        each.address for each in FOUNDERS
    ]
    assert mnemonic(0) != mnemonic(1)


def test_the_libraries_leave_pythons_limit_of_recursion_as_it_was() -> None:
    """Else a deeply nested text of JSON would end the whole process."""
    use = (
        "import sys; from consensus.ethereum.accounts import accounts, mnemonic; "
        "from consensus.ethereum.chain import Chain; from consensus.ethereum.node import Node; "
        "Chain([accounts(mnemonic(0), 1)[0].address]); print(sys.getrecursionlimit())"
    )
    done = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True, check=True)
    plain = [sys.executable, "-c", "import sys; print(sys.getrecursionlimit())"]
    assert done.stdout == subprocess.run(plain, capture_output=True, text=True).stdout
