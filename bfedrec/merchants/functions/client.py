"""The functions as a merchant calls them over HTTP.

A merchant trusts no answer: models are fetched from the merchant's own store and checked against
their digests, and `bfedrec.merchants.rounds.member` recomputes the aggregate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import requests
from urllib3.exceptions import HTTPError

from bfedrec.merchants.averaging import Contribution
from bfedrec.merchants.functions.guard import BINARY, JSON
from bfedrec.merchants.functions.signing import request_of
from bfedrec.merchants.functions.wire import model_of, round_text, sent_of, whole
from bfedrec.merchants.model import digest_of
from bfedrec.merchants.rounds.agreement import Agreement
from bfedrec.merchants.rounds.checks import Aggregate, Collection, Missing, Refused, fetch
from bfedrec.merchants.rounds.services import ServiceError
from consensus.answers import Bounds
from consensus.ethereum.bounded_json import parse
from consensus.ethereum.errors import EthereumError, NonceTaken
from consensus.ethereum.records import Model, Sent
from consensus.ethereum.registry import Registry
from consensus.storage.content import ContentStore

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

NAMES: Final = ("store", "register", "collect", "aggregate")
LONGEST_ANSWER: Final = 2**20
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 150.0
TRIES: Final = 8
"""Tries of a call that found the function absent or busy, or its nonce overtaken."""
WAIT_SECONDS: Final = 0.25
"""Wait before the second try; each later one is twice as long, up to 4 s."""
AGAIN: Final = ("replayed", "busy")
"""Kinds of refusals after which the same call may succeed with a new nonce."""

T = TypeVar("T")


class RemoteServices:
    """The four functions at their URLs, asked in the name of one merchant.

    Methods raise ServiceError for a function that is absent, silent or makes no sense, Refused for
    what it refuses, and EthereumError for what the chain does; each in one line.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        merchant: LocalAccount,
        agreement: Agreement,
        registry: Registry,
        store: ContentStore,
    ) -> None:
        """``urls``: of each function, by its name. Raises ValueError where one is missing."""
        missing = [name for name in NAMES if name not in urls]
        if missing:
            raise ValueError(f"there is no URL of the function {missing[0]}")
        self._urls, self._merchant = urls, merchant
        self._agreement, self._registry, self._store = agreement, registry, store

    def store(self, payload: bytes) -> Model:
        """Have a model kept."""
        return self._asked("store", payload, BINARY, model_of)

    def register(self, raw: bytes) -> Sent:
        """Have a signed operation passed on to the registry."""
        return self._asked("register", raw, BINARY, sent_of)

    def collect(self, number: int) -> Collection:
        """A round's models that the function found usable, fetched and checked here."""
        accepted, refused = self._asked("collect", round_text(number), JSON, _collected)
        round = self._registry.read_round(number)
        if round.parent is None:
            raise Refused(f"round {number} has no parent")
        published = {each.merchant: each for each in round.publications}
        models = []
        for name, model in accepted.items():
            each = published.get(self._agreement.merchants.get(name, ""))
            if each is None or each.model != model:
                raise ServiceError(f"collect: names a model of {name!a:.40} that is not published")
            models.append(
                Contribution(name, fetch(self._store, model, self._agreement), each.samples)
            )
        models.sort(key=lambda one: one.merchant.encode())
        parent = fetch(self._store, round.parent, self._agreement)
        return Collection(round, parent, tuple(models), refused)

    def aggregate(self, number: int) -> Aggregate:
        """The aggregate that the function computed and stored, fetched here."""
        model, covered = self._asked(
            "aggregate",
            round_text(number),
            JSON,
            lambda found: (model_of(found), whole(found["covered"])),
        )
        payload = self._store.get_at_most(model.cid, self._agreement.payload_size)
        if digest_of(payload) != model.digest:
            raise ServiceError("aggregate: the bytes at its address have another digest")
        return Aggregate(number, covered, model, payload)

    def _asked(
        self, name: str, body: bytes, kind: str, read: Callable[[Mapping[str, Any]], T]
    ) -> T:
        """A function's answer, as ``read`` takes it apart."""
        wait = WAIT_SECONDS
        for left in reversed(range(TRIES)):
            try:
                status, found = self._sent(name, body, kind)
            except requests.TooManyRedirects:
                raise ServiceError(
                    f"{name}: {self._urls[name]} names another address, which is not asked"
                ) from None
            except (requests.RequestException, HTTPError) as error:
                if not left:
                    told = type(error).__name__
                    raise ServiceError(
                        f"{name}: no answer from {self._urls[name]} ({told})"
                    ) from None
            else:
                if status == 200:
                    break
                if str(found.get("error")) not in AGAIN or not left:
                    raise _refusal(name, status, found)
            time.sleep(wait)
            wait = min(2 * wait, 4.0)
        try:
            return read(found)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServiceError(f"{name}: an answer that makes no sense ({error!s:.80})") from None

    def _sent(self, name: str, body: bytes, kind: str) -> tuple[int, Mapping[str, Any]]:
        """Status and content of one answer."""
        registry = self._registry
        request = request_of(name, registry.address, registry.node.chain_id, time.time_ns(), body)
        headers = {**request.signed(self._merchant), "Content-Type": kind}
        with (
            Bounds(LONGEST_ANSWER).hold(requests.Session()) as session,
            session.post(
                self._urls[name],
                data=body,
                headers=headers,
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                stream=True,
            ) as answer,
        ):
            content = b""
            while len(content) <= LONGEST_ANSWER and (piece := answer.raw.read1(65_536)):
                content += piece
        try:
            found = parse(content) if len(content) <= LONGEST_ANSWER else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ServiceError(f"{name}: {answer.status_code} without a line of JSON")
        return answer.status_code, found


def _collected(found: Mapping[str, Any]) -> tuple[dict[str, Model], dict[str, str]]:
    accepted = {str(each["merchant"]): model_of(each) for each in found["accepted"]}
    return accepted, {str(who): str(why) for who, why in found["refused"].items()}


def _refusal(name: str, status: int, found: Mapping[str, Any]) -> Exception:
    """The error that a function's refusal tells."""
    kind = str(found.get("error"))
    told = " ".join(f"{name}: {status}: {found.get('reason')}".split())[:400]
    kinds: dict[str, type[Exception]] = {
        "missing": Missing,
        "refused": Refused,
        "nonce-taken": NonceTaken,
        "registry": EthereumError,
        "chain": EthereumError,
    }
    return kinds.get(kind, ServiceError)(told)
