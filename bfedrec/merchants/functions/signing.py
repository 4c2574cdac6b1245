"""Signed requests: who asks which function of which registry for what, once.

A merchant signs five lines with its Ethereum key as a personal message (EIP-191), so that a wallet
shows what it signs and no transaction can be taken for a request. The nonce is the time in
nanoseconds since 1970: it gives a request its age, and increases by itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consensus.ethereum.extra import needed

if TYPE_CHECKING:
    from eth_account.messages import SignableMessage
    from eth_account.signers.local import LocalAccount

MERCHANT: Final = "Bfedrec-Merchant"
NONCE: Final = "Bfedrec-Nonce"
DIGEST: Final = "Bfedrec-Digest"
SIGNATURE: Final = "Bfedrec-Signature"
FORMS: Final = {
    MERCHANT: re.compile(r"0x[0-9a-fA-F]{40}"),
    NONCE: re.compile(r"[1-9][0-9]{0,18}"),
    DIGEST: re.compile(r"[0-9a-f]{64}"),
    SIGNATURE: re.compile(r"0x[0-9a-f]{130}"),
}
"""The headers of a request, each with the only form that it may have."""
LARGEST_NONCE: Final = 2**63 - 1


class BadSignature(ValueError):
    """Headers that are missing or malformed, or a signature of somebody else; one line."""


@dataclass(frozen=True)
class Request:
    """The content of a request, which a merchant signs."""

    function: str
    registry: str
    """The registry's address, with its checksum."""
    chain_id: int
    nonce: int
    """Nanoseconds since 1970."""
    digest: bytes
    """SHA-256 of the body."""

    def text(self) -> str:
        """The text that is signed."""
        return (
            f"bfedrec function: {self.function}\n"
            f"registry: {self.registry}\n"
            f"chain: {self.chain_id}\n"
            f"nonce: {self.nonce}\n"
            f"sha256: {self.digest.hex()}"
        )

    def signed(self, merchant: LocalAccount) -> dict[str, str]:
        """The headers of the request, signed by a merchant."""
        signature = merchant.sign_message(self._message()).signature
        return {
            MERCHANT: merchant.address,
            NONCE: str(self.nonce),
            DIGEST: self.digest.hex(),
            SIGNATURE: f"0x{bytes(signature).hex()}",
        }

    def signer(self, signature: bytes) -> str:
        """Address of the account whose signature this is. Raises BadSignature for no signature."""
        with needed():
            from eth_account import Account
        try:
            return str(Account.recover_message(self._message(), signature=signature))
        except Exception as error:  # of several libraries
            raise BadSignature(f"no signature ({type(error).__name__})") from None

    def _message(self) -> SignableMessage:
        with needed():
            from eth_account.messages import encode_defunct
        return encode_defunct(text=self.text())


def request_of(function: str, registry: str, chain_id: int, nonce: int, body: bytes) -> Request:
    """The request with this body, before it is signed."""
    return Request(function, registry, chain_id, nonce, hashlib.sha256(body).digest())


def read(
    headers: Mapping[str, str], function: str, registry: str, chain_id: int
) -> tuple[str, Request]:
    """The merchant that signed a request, as the address with its checksum, and the request.

    Raises BadSignature for headers that are missing or malformed, and for a signature that is not
    the merchant's for this function of this registry on this chain. The body is still to be
    compared with the request's digest.
    """
    given = {}
    for name, form in FORMS.items():
        given[name] = headers.get(name, "")
        if not form.fullmatch(given[name]):
            said = "is missing" if not given[name] else "is malformed"
            raise BadSignature(f"the header {name} {said}")
    nonce = int(given[NONCE])
    if nonce > LARGEST_NONCE:
        raise BadSignature(f"the header {NONCE} is malformed")
    request = Request(function, registry, chain_id, nonce, bytes.fromhex(given[DIGEST]))
    signer = request.signer(bytes.fromhex(given[SIGNATURE][2:]))
    if signer.lower() != given[MERCHANT].lower():
        raise BadSignature(
            f"not signed by {given[MERCHANT]} for {function} of {registry} on chain {chain_id}"
        )
    return signer, request
