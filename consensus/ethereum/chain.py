"""An Ethereum chain in one process (py-evm): each accepted transaction is a block at once.

Everything in it follows from its accounts and its transactions with their times: the same ones give
the same blocks, hash by hash, and so a chain is kept as the list of its transactions.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from consensus.encoding.node import Node
from consensus.ethereum.errors import EthereumError
from consensus.ethereum.extra import needed
from consensus.ethereum.journal import Journal, Line

if TYPE_CHECKING:
    from eth.abc import BlockHeaderAPI, ComputationAPI

__all__ = [
    "Block",
    "Call",
    "Chain",
    "Clock",
    "Log",
    "Refused",
    "Reverted",
    "Transaction",
    "stepping",
]

CHAIN_ID: Final = 1337
GENESIS_TIME: Final = 1_767_225_600
"""Seconds since 1970 at the chain's first block: the beginning of 2026."""
SLOT_SECONDS: Final = 12
DEEPEST_CALLS: Final = 12 * 1024
"""Limit of recursion under which py-evm follows the 1,024 calls within calls that there may be."""
GAS_LIMIT: Final = 8_000_000
"""The most gas of a block or a call. The largest deployment takes five millions; a contract that
never ends holds up the chain for as long as this takes, some seconds."""
BALANCE: Final = 10**24
"""First balance of each funded account, in wei: a million ether."""
TIP: Final = 10**9
STIPEND: Final = 2300

Clock = Callable[[int], int]
"""The time of a block from its parent's, in seconds since 1970; later than it."""


def stepping(parent: int) -> int:
    """The time one slot after the parent's, so that all times are the same in every run."""
    return parent + SLOT_SECONDS


class Refused(EthereumError):
    """Error: a transaction that no block can hold."""


class Reverted(EthereumError):
    """Error: a call that failed; `data` is what the contract says of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        super().__init__("execution reverted")


@dataclass(frozen=True)
class Log:
    """One event of a contract."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Transaction:
    """One accepted transaction with its results; prices in wei for a unit of gas, `to` empty and
    `created` the address where it created a contract."""

    hash: bytes
    kind: int
    sender: bytes
    to: bytes
    nonce: int
    gas: int
    price: int
    most_price: int
    tip: int
    value: int
    data: bytes
    succeeded: bool
    created: bytes
    logs: tuple[Log, ...]


@dataclass(frozen=True)
class Block:
    """One block; the first has no transaction, every other one has one."""

    header: BlockHeaderAPI
    transaction: Transaction | None


@dataclass(frozen=True)
class Call:
    """A call to be tried and not kept: its sender need not have signed it."""

    sender: bytes
    to: bytes
    data: bytes
    value: int = 0
    gas: int | None = None


class Chain:
    """A chain of one process; its methods are for one thread at a time (`lock`)."""

    chain_id: int = CHAIN_ID
    tip: int = TIP

    def __init__(
        self, funded: Sequence[str], state: Path | None = None, clock: Clock = stepping
    ) -> None:
        """A chain whose accounts `funded` own something, with all that the file `state` holds.

        Raises EthereumError where the file is another chain's, in use or damaged.
        """
        with needed():
            from eth.chains.base import MiningChain
            from eth.db.atomic import AtomicDB
            from eth.vm.forks import ShanghaiVM
        self.lock = threading.Lock()
        self.funded = tuple(funded)
        self._clock = clock
        kind: Any = MiningChain.configure(
            __name__="EmbeddedChain", vm_configuration=((0, ShanghaiVM),), chain_id=CHAIN_ID
        )
        rich = {"balance": BALANCE, "nonce": 0, "code": b"", "storage": {}}
        self._chain: Any = kind.from_genesis(
            AtomicDB(),
            {"timestamp": GENESIS_TIME, "gas_limit": GAS_LIMIT, "difficulty": 0, "nonce": bytes(8)},
            {bytes.fromhex(address[2:]): rich for address in funded},
        )
        genesis = self._chain.get_canonical_block_by_number(0).header
        self._blocks = [Block(genesis, None)]
        self._by_transaction: dict[bytes, int] = {}
        self._by_hash: dict[bytes, int] = {bytes(genesis.hash): 0}
        self._journal: Journal | None = None
        if state is not None:
            self._replay(state)

    def close(self) -> None:
        """Close the state file."""
        if self._journal is not None:
            self._journal.close()

    # --- blocks -----------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """The number of the latest block."""
        return len(self._blocks) - 1

    def block(self, number: int) -> Block:
        """The block of a number up to `height`."""
        return self._blocks[number]

    def block_of(self, hash: bytes) -> Block | None:
        """The block with a hash."""
        place = self._by_hash.get(hash)
        return None if place is None else self._blocks[place]

    def block_with(self, transaction: bytes) -> Block | None:
        """The block that holds the transaction with a hash."""
        place = self._by_transaction.get(transaction)
        return None if place is None else self._blocks[place]

    def accept(self, raw: bytes) -> bytes:
        """Make a block of a signed transaction, keep it, and return the transaction's hash.

        Raises Refused where no block can hold it; nothing has changed then.
        """
        time = self._clock(self._blocks[-1].header.timestamp)
        before = self._chain.header
        block = self._mine(raw, time)
        if self._journal is not None:
            try:
                self._journal.append(Line(time, raw.hex(), block.header.hash.hex()))
            except OSError as error:
                # In this process' memory alone: as if it had not been.
                self._chain.header = before
                raise Refused(
                    f"the state file cannot be written: {error.strerror or error}"
                ) from None
        self._append(block)
        assert block.transaction is not None
        return block.transaction.hash

    # --- state ------------------------------------------------------------------------------------

    @property
    def gas_price(self) -> int:
        """A price at which the next block holds a transaction, in wei."""
        return (self._blocks[-1].header.base_fee_per_gas or 0) + TIP

    def nonce(self, address: bytes, after: Block) -> int:
        """Number of transactions of an account up to a block."""
        return int(self._chain.get_vm(after.header).state.get_nonce(address))

    def balance(self, address: bytes, after: Block) -> int:
        """The balance of an account after a block, in wei."""
        return int(self._chain.get_vm(after.header).state.get_balance(address))

    def code(self, address: bytes, after: Block) -> bytes:
        """The code of a contract after a block; empty for what is none."""
        return bytes(self._chain.get_vm(after.header).state.get_code(address))

    def call(self, call: Call, after: Block) -> bytes:
        """The output of a call after a block. Raises Reverted or Refused."""
        return bytes(self._try(call, after)[0].output)

    def estimate(self, call: Call, after: Block) -> int:
        """The gas that a call needs after a block. Raises Reverted or Refused."""
        tried, basic = self._try(call, after)
        # Before any refund, which is paid back only at the end; and a write to storage wants to see
        # some more gas than it takes (EIP-2200).
        return basic + int(tried.get_gas_used()) + STIPEND

    # --- parts ------------------------------------------------------------------------------------

    def _try(self, call: Call, after: Block) -> tuple[ComputationAPI, int]:
        """The computation of a call after a block, and the gas that it pays for its data."""
        from eth.exceptions import Revert
        from eth.vm.spoof import SpoofTransaction

        vm = self._chain.get_vm(after.header)
        with _refused(), _deep(), vm.in_costless_state() as state:
            unsigned = vm.create_unsigned_transaction(
                nonce=state.get_nonce(call.sender),
                gas_price=0,
                gas=min(call.gas or GAS_LIMIT, GAS_LIMIT),
                to=call.to,
                value=call.value,
                data=call.data,
            )
            spoofed = SpoofTransaction(unsigned, from_=call.sender)
            computation: ComputationAPI = state.costless_execute_transaction(spoofed)
        if computation.is_error:
            error = computation.error
            if isinstance(error, Revert):
                raise Reverted(bytes(error.args[0]) if error.args else b"")
            raise Refused(f"execution failed: {type(error).__name__}")
        return computation, spoofed.intrinsic_gas

    def _mine(self, raw: bytes, time: int) -> Block:
        with _refused(), _deep():
            vm = self._chain.get_vm()
            transaction = vm.get_transaction_builder().decode(raw)
            before = self._chain.header
            try:
                self._chain.set_header_timestamp(time)
                _, receipt, computation = self._chain.apply_transaction(transaction)
                block = self._chain.mine_block(mix_hash=bytes(32))
            except BaseException:
                self._chain.header = before
                raise
        base = block.header.base_fee_per_gas
        return Block(block.header, self._told(base, transaction, receipt, computation))

    def _told(self, base: int, transaction: Any, receipt: Any, computation: Any) -> Transaction:
        return Transaction(
            hash=transaction.hash,
            kind=getattr(transaction, "type_id", None) or 0,
            sender=transaction.sender,
            to=transaction.to,
            nonce=transaction.nonce,
            gas=transaction.gas,
            price=min(transaction.max_fee_per_gas, base + transaction.max_priority_fee_per_gas),
            most_price=transaction.max_fee_per_gas,
            tip=transaction.max_priority_fee_per_gas,
            value=transaction.value,
            data=transaction.data,
            succeeded=computation.is_success,
            created=b"" if transaction.to else computation.msg.storage_address,
            logs=tuple(
                Log(log.address, tuple(each.to_bytes(32, "big") for each in log.topics), log.data)
                for log in receipt.logs
            ),
        )

    def _append(self, block: Block) -> None:
        place = len(self._blocks)
        self._blocks.append(block)
        self._by_hash[block.header.hash] = place
        assert block.transaction is not None
        self._by_transaction[block.transaction.hash] = place

    def _replay(self, path: Path) -> None:
        """Begin with the chain that a state file holds, and keep it there from now on."""
        identity: Node = {
            "format": 1,
            "chain": CHAIN_ID,
            "genesis": self._blocks[0].header.hash.hex(),
        }
        journal = Journal(path, identity)
        try:
            for place, line in enumerate(journal, 2):
                try:
                    block = self._mine(bytes.fromhex(line.raw), line.time)
                except (Refused, ValueError) as error:
                    raise EthereumError(f"state file {path}: line {place}: {error}") from None
                if block.header.hash.hex() != line.block:
                    raise EthereumError(
                        f"state file {path}: line {place} gives another block than it did"
                    )
                self._append(block)
        except BaseException:
            journal.close()
            raise
        self._journal = journal


@contextmanager
def _deep() -> Iterator[None]:
    """Have Python's limit of recursion be `DEEPEST_CALLS` within, and afterwards as it was."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(DEEPEST_CALLS, before))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@contextmanager
def _refused() -> Iterator[None]:
    """Translate what the machine says of a transaction that no block can hold."""
    from eth.exceptions import PyEVMError
    from eth_utils import ValidationError
    from rlp.exceptions import RLPException

    try:
        yield
    except EthereumError:
        raise
    except (ValidationError, PyEVMError, RLPException, ValueError, TypeError) as error:
        lines = str(error).splitlines()
        raise Refused((lines[0] if lines else type(error).__name__)[:200]) from None
