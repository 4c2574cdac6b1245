"""A connection to an Ethereum node over JSON-RPC: bounded waits, errors in one line.

Transactions are signed here, with an account's private key: a node needs to know none, and a real
one is used as the embedded chain is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from consensus.answers import Bounds
from consensus.ethereum.artefact import artefact
from consensus.ethereum.errors import EthereumError, NonceTaken, RegistryError, Reverted
from consensus.ethereum.extra import needed
from consensus.ethereum.records import Sent, Value
from consensus.ethereum.transactions import decode

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from hexbytes import HexBytes
    from web3.contract import Contract
    from web3.contract.contract import ContractConstructor, ContractFunction
    from web3.types import TxReceipt

    Call: TypeAlias = ContractFunction | ContractConstructor

__all__ = ["Node"]

TRIES: Final = 5
"""Tries to have a transaction taken whose nonce another one of the same account took."""
POLL_SECONDS: Final = 0.05
LONGEST_ANSWER: Final = 2**25
"""The most bytes of an answer: blocks have a million or two, events are asked for by parts."""
SPARE_GAS: Final = 100_000
"""Gas that a transaction may use beyond the estimate, which is of the chain as it is now. Another
attestation in between makes the next one close the round, which takes 57,000 more
(tests/bench/test_bench_ethereum.py). What is not used is not paid for."""

MOST_FEE: Final = 10**18
"""The most wei that a transaction may cost, one ether, as of geth. What a unit of gas costs is the
node's word, and the rest of an account goes to whoever makes the block."""

_TAKEN: Final = ("nonce too", "invalid transaction nonce", "underpriced", "already known")
"""Parts of what nodes say of a transaction whose nonce is in use, or not yet."""

T = TypeVar("T")


class Node:
    """One node, reached at a URL.

    Every method raises EthereumError in one line that names the node where it is absent, silent or
    refuses, and RegistryError where the contract refuses.
    """

    def __init__(self, url: str, timeout: float = 30.0, patience: float = 120.0) -> None:
        """Connect to the node at `url`.

        ``timeout``: seconds that one answer may take; ``patience``: seconds in which a block has to
        hold a transaction that was sent.
        """
        with needed():
            from eth_utils.abi import function_abi_to_4byte_selector
            from requests import Session
            from web3 import HTTPProvider, Web3
            from web3.exceptions import Web3Exception
        self.url = url
        self._patience = patience
        self._refusals = Web3Exception
        self._errors = {
            function_abi_to_4byte_selector(each): (  # type: ignore[arg-type]
                str(each["name"]),
                [(str(put["name"]), str(put["type"])) for put in _inputs(each)],
            )
            for each in artefact().abi
            if each["type"] == "error"
        }
        session = Bounds(LONGEST_ANSWER).hold(Session())
        self.web3 = Web3(HTTPProvider(url, {"timeout": timeout}, session))
        # It asks for the chain's number with every request, which every transaction here names, and
        # refuses the blocks of networks whose makers sign them (proof of authority).
        self.web3.middleware_onion.remove("validation")
        self.chain_id: int = self.ask(lambda: self.web3.eth.chain_id)

    def ask(self, request: Callable[[], T]) -> T:
        """The node's answer to `request`, with its errors translated."""
        with self._translated():
            return request()

    def latest(self) -> tuple[int, bytes]:
        """Number and hash of the latest block."""
        block: Any = self.ask(lambda: self.web3.eth.get_block("latest"))
        return self.ask(lambda: (int(block["number"]), bytes(block["hash"])))

    def holds(self, number: int, block: bytes) -> bool:
        """True if the chain's block of this number has this hash; it may have been replaced."""
        if number > self.latest()[0]:
            return False
        return self.ask(lambda: bytes(cast(Any, self.web3.eth.get_block(number))["hash"])) == block

    def contract(self, address: str) -> Contract:
        """The registry at an address."""
        return self.web3.eth.contract(address=self.address(address), abi=artefact().abi)

    def address(self, text: str) -> Any:
        """An address with its checksum. Raises EthereumError for what is none."""
        try:
            return self.web3.to_checksum_address(text)
        except (ValueError, TypeError):
            raise EthereumError(f"not an Ethereum address: {text!r:.80}") from None

    def transact(self, account: LocalAccount, call: Call) -> TxReceipt:
        """The receipt of a transaction of `account` that a block holds and the contract accepted.

        The node is asked first what the transaction would do, so that a refused one costs nothing.
        Another transaction may come in between; it is then refused in its block, and costs its gas.
        """
        for attempt in range(TRIES):
            try:
                return self.deliver(self.signed(account, call))
            except NonceTaken:
                if attempt + 1 == TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    def signed(self, account: LocalAccount, call: Call) -> bytes:
        """A transaction of `account` that is signed and was not sent.

        Raises RegistryError where the contract would refuse it as things stand, and EthereumError
        where it might cost more than `MOST_FEE`.
        """
        with self._translated():
            nonce = self.web3.eth.get_transaction_count(account.address, "pending")
            gas = call.estimate_gas({"from": account.address}) + SPARE_GAS
            prepared = call.build_transaction(
                {"from": account.address, "nonce": nonce, "chainId": self.chain_id, "gas": gas}
            )
            prices: Mapping[str, Any] = cast(Any, prepared)
            most = gas * max(int(prices.get(name, 0)) for name in ("gasPrice", "maxFeePerGas"))
            if most > MOST_FEE:
                raise EthereumError(
                    f"{self.url}: a transaction might cost {most / 1e18:.3g} ether; at most "
                    f"{MOST_FEE / 1e18:g} is paid"
                )
            return bytes(account.sign_transaction(cast(Any, prepared)).raw_transaction)

    def deliver(self, raw: bytes) -> TxReceipt:
        """Send a signed transaction; its receipt once a block holds it and the contract accepted.

        One that a block holds already is not sent twice: its receipt is returned. Raises
        NonceTaken where another transaction of the account came first.
        """
        from eth_utils.crypto import keccak
        from hexbytes import HexBytes

        with self._translated():
            try:
                sent = self.web3.eth.send_raw_transaction(HexBytes(raw))
            except (self._refusals, ValueError) as error:
                said = str(error).lower()
                if not any(part in said for part in _TAKEN):
                    raise
                sent = HexBytes(keccak(raw))
                if not self._is_known(sent):
                    raise NonceTaken(f"{self.url}: {_line(error)}") from None
            return self._receipt(raw, sent)

    def sent(self, receipt: TxReceipt) -> Sent:
        """The record of a transaction with this receipt."""
        return Sent(
            receipt["transactionHash"].to_0x_hex(), receipt["blockNumber"], receipt["gasUsed"]
        )

    def _is_known(self, sent: HexBytes) -> bool:
        """True if the node has this very transaction, in a block or waiting for one."""
        from web3.exceptions import TransactionNotFound

        try:
            return self.web3.eth.get_transaction(sent) is not None
        except TransactionNotFound:
            return False

    def _receipt(self, raw: bytes, sent: HexBytes) -> TxReceipt:
        from web3.exceptions import TimeExhausted

        try:
            receipt = self.web3.eth.wait_for_transaction_receipt(
                sent, timeout=self._patience, poll_latency=POLL_SECONDS
            )
        except TimeExhausted:
            raise EthereumError(
                f"{self.url}: no block holds {sent.to_0x_hex()} after {self._patience:g} s"
            ) from None
        if receipt["status"] != 1:
            # The same call at the same place, for its reason.
            found = decode(raw)
            again = {"from": found.sender, "to": found.to, "data": found.data, "gas": found.gas}
            self.web3.eth.call(cast(Any, again), receipt["blockNumber"])
            raise EthereumError(f"{self.url}: transaction {sent.to_0x_hex()} was reverted")
        return receipt

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except EthereumError:
            raise
        except self._refusals as error:
            data = getattr(error, "data", None)
            if isinstance(data, str) and data.startswith("0x"):
                raise self._refusal(data) from None
            raise EthereumError(f"{self.url}: {_line(error)}") from None
        except Exception as error:  # web3 takes any reply apart as if it were a right one
            raise EthereumError(
                f"{self.url}: no Ethereum node answers as one should: {_line(error)}"
            ) from error

    def _refusal(self, data: str) -> Reverted:
        """The error that a contract's revert data tells."""
        from eth_abi.exceptions import DecodingError

        try:
            selector, encoded = bytes.fromhex(data[2:10]), bytes.fromhex(data[10:])
            name, inputs = self._errors[selector]
            values = self.web3.codec.decode([kind for _, kind in inputs], encoded)
        except (DecodingError, ValueError, KeyError):
            return Reverted(f"{self.url}: reverted with {data[:74]}")
        arguments: dict[str, Value] = {}
        for (label, kind), value in zip(inputs, values, strict=True):
            arguments[label] = self.address(value) if kind == "address" else value
        return RegistryError(name, arguments)


def _inputs(entry: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The inputs of an entry of an ABI."""
    inputs = entry["inputs"]
    assert isinstance(inputs, list)
    return inputs


def _line(error: BaseException) -> str:
    """The first line of what an error says, or of what the node said, at most 200 characters."""
    response = getattr(error, "rpc_response", None)
    told = response.get("error") if isinstance(response, dict) else None
    said = told.get("message") if isinstance(told, dict) else error
    lines = str(said).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
