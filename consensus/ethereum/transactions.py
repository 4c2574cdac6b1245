"""Signed transactions as bytes that may come from anyone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from consensus.ethereum.errors import EthereumError
from consensus.ethereum.extra import needed

__all__ = ["Signed", "decode"]

LONGEST: Final = 65_536
"""The most bytes of a transaction that is read. Deploying the registry takes 10 KB, a publication
400 bytes."""
LARGEST: Final = 2**256 - 1
"""The largest number of a transaction; bytes may spell one that Python writes out for nobody."""


@dataclass(frozen=True)
class Signed:
    """A signed transaction with a dynamic fee (EIP-1559), as this program makes them."""

    sender: str
    """Address of the signer."""
    to: str
    """Address of the contract; empty for a deployment."""
    chain_id: int
    nonce: int
    value: int
    """Payment, in wei."""
    gas: int
    data: bytes


def decode(raw: bytes) -> Signed:
    """The transaction in these bytes. Raises EthereumError, in one line, for anything else."""
    if len(raw) > LONGEST:
        raise EthereumError(f"a transaction of {len(raw):,} bytes; at most {LONGEST:,} are read")
    with needed():
        from eth_account import Account
        from eth_account.typed_transactions import TypedTransaction
        from eth_utils.address import to_checksum_address
        from hexbytes import HexBytes
    try:
        found: Any = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        sender = Account.recover_transaction(HexBytes(raw))
        to = bytes(found["to"])
        numbers = [int(found[name]) for name in ("chainId", "nonce", "value", "gas")]
        if max(numbers) > LARGEST:
            raise OverflowError
        chain_id, nonce, value, gas = numbers
        return Signed(
            sender=str(sender),
            to=str(to_checksum_address(to)) if to else "",
            chain_id=chain_id,
            nonce=nonce,
            value=value,
            gas=gas,
            data=bytes(found["data"]),
        )
    except Exception as error:  # several libraries take bytes apart as if they were right
        told = type(error).__name__
        raise EthereumError(f"not a signed transaction with a dynamic fee ({told})") from None
