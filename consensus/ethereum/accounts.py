"""Accounts of a seed, for chains on which nothing has a value: anyone who knows the seed has them.

They are those of a mnemonic phrase at the usual path, so that the embedded chain, Anvil
(`--mnemonic`) and wallets give the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from consensus.ethereum.extra import needed

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

__all__ = ["PATH", "accounts", "from_key", "mnemonic"]

PATH: Final = "m/44'/60'/0'/0"
"""Path of the accounts, below which each has its number."""


def mnemonic(seed: int) -> str:
    """The phrase of twelve words of a seed."""
    with needed():
        from eth_account.hdaccount import Mnemonic
    entropy = hashlib.sha256(b"bfedrec ethereum accounts %d" % seed).digest()[:16]
    return str(Mnemonic().to_mnemonic(entropy))


def accounts(phrase: str, count: int) -> Sequence[LocalAccount]:
    """The first `count` accounts of a mnemonic phrase."""
    with needed():
        from eth_account import Account
        from eth_account.hdaccount import key_from_seed, seed_from_mnemonic
    seed = seed_from_mnemonic(phrase, "")
    return [Account.from_key(key_from_seed(seed, f"{PATH}/{place}")) for place in range(count)]


def from_key(key: str | bytes) -> LocalAccount:
    """The account of a private key (32 bytes, or hexadecimal). Raises ValueError in one line."""
    with needed():
        from eth_account import Account
    try:
        account: LocalAccount = Account.from_key(key)
    except Exception:  # of several libraries; their messages show the key
        raise ValueError("not a private key: 32 bytes, or 64 hexadecimal digits") from None
    return account
