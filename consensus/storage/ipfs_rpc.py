"""Requests to an IPFS node's HTTP RPC API: bounded waits, repeated tries, errors in one line.

Every request of the ledger's may be repeated. A request that fails because the node is gone or
silent is tried again after a pause, as the node may be restarting; a refused one is not.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from consensus.answers import Bounds
from consensus.encoding.cid import cid_text
from consensus.storage.content import NotFound, StoreError, Unavailable

__all__ = ["AlreadyPinned", "NodeRpc", "Tell", "nothing", "short"]

OLDEST: Final = (0, 10)
"""The oldest version that accepts our requests, of Kubo and of js-ipfs's core alike."""
LONGEST_ANSWER: Final = 2**31
"""The most bytes of an answer that is a whole file, or tells of all pins or blocks of a node."""
USUAL_ANSWER: Final = 2**24
"""The most bytes of any other one: of a block, or of some lines of JSON, which take several times
as many in memory."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds between two tries; doubles each time

_FULL: Final = re.compile(r"ENOSPC|EDQUOT|no space left|disk quota|storage ?max|disk is full", re.I)
_MISSING: Final = re.compile(
    r"not found|timed out|could not find|deadline exceeded|no link named", re.I
)

MALFORMED: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Errors of taking apart what is no node's answer: endless lists within lists, texts for sizes."""

T = TypeVar("T")
Tell = Callable[[str], object]


def short(told: object) -> str:
    """The beginning of what a node told, in one line."""
    return " ".join(str(told).split())[:80]


def nothing(line: str) -> None:
    """A `Tell` that ignores its line."""


class AlreadyPinned(StoreError):
    """Error: content to be pinned by itself is already pinned recursively."""


class NodeRpc:
    """A connection to one IPFS node of a supported version."""

    def __init__(self, api: str, timeout: float, retries: int, tell: Tell) -> None:
        """Connect to the node at the multiaddr `api` and check its version.

        ``timeout``: seconds that one answer may take. ``retries``: tries after a failed first one;
        the first request, which finds out if the node is there, has none. ``tell``: called with a
        line before each repeated try. Raises StoreError if the node is absent, too old or no IPFS
        node.
        """
        try:
            import ipfshttpclient
            from ipfshttpclient import exceptions
            from requests import RequestException
        except ImportError as error:
            raise StoreError(
                f"an IPFS node needs ipfshttpclient ({error}): pip install 'bfedrec[ipfs]'"
            ) from None
        # The client asks urllib3 for what it no longer offers, with every request.
        warnings.filterwarnings("ignore", "The 'strict' parameter", FutureWarning)
        self.api = api
        self.timeout = timeout
        self._tell = tell
        self.bounds = Bounds(USUAL_ANSWER)
        """The bounds of the node's answers."""
        self.interruptions = 0
        """Number of requests so far without a complete answer: the node was away, or may have
        been."""
        self._exceptions = exceptions
        # AssertionError and LookupError: raised by the client for an answer that was cut off.
        self._cut_off = (
            exceptions.ConnectionError,
            exceptions.ProtocolError,
            exceptions.DecodingError,
            RequestException,
            *MALFORMED,
        )
        self._retries = 0
        try:
            # `connect` would refuse every node newer than 0.8.
            self.client = ipfshttpclient.Client(api, session=True, timeout=timeout)
            self.bounds.hold(self.client._client._session)
        except exceptions.AddressError:
            raise StoreError(
                f"{api}: not the address of an IPFS node, as /ip4/127.0.0.1/tcp/5001"
            ) from None
        try:
            self.version = self._check_version()
        except BaseException:
            self.close()
            raise
        self._retries = retries

    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def ask(self, request: Callable[[], T], missing: bytes | None = None) -> T:
        """The answer to a request, which takes it apart as well; repeated if no answer comes.

        Raises AlreadyPinned if the node says that the content is pinned already; NotFound if it
        says that it is not pinned, or does not find ``missing``, the content that was asked for;
        Unavailable if all tries fail or what answers is no IPFS node; StoreError for other
        refusals.
        """
        pause = FIRST_PAUSE
        for left in range(self._retries, -1, -1):
            try:
                return request()
            except self._exceptions.TimeoutError:
                reason = f"did not answer within {self.timeout:g} s"
            except self._cut_off as error:
                reason = _reason(error)
            except self._exceptions.ErrorResponse as error:
                self._refused(str(error), missing)
            except self._exceptions.StatusError as error:
                status = getattr(getattr(error.original, "response", None), "status_code", "?")
                raise Unavailable(
                    f"{self.api}: does not answer as an IPFS node's RPC API does (HTTP status "
                    f"{status}); is this the address under Addresses.API in its config?"
                ) from None
            self.interruptions += 1
            if left:
                self._tell(f"{self.api}: the IPFS node {reason}; next try in {pause:g} s")
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        tries = f", {self._retries + 1} times" if self._retries else ""
        raise Unavailable(f"{self.api}: the IPFS node {reason}{tries}")

    def _refused(self, message: str, missing: bytes | None) -> NoReturn:
        """Raise the exception for an error message of the node."""
        text = " ".join(message.split())[:300]
        if "not pinned" in text:
            raise NotFound(f"{self.api}: {text}") from None
        if "already pinned recursively" in text:
            raise AlreadyPinned(f"{self.api}: {text}") from None
        if _FULL.search(text):
            raise StoreError(f"{self.api}: the IPFS node is full: {text}") from None
        if missing is not None and _MISSING.search(text):
            raise NotFound(f"{self.api}: {cid_text(missing)} is not on this node") from None
        raise StoreError(f"{self.api}: the IPFS node refused: {text}") from None

    def _check_version(self) -> str:
        answer: Any = self.ask(lambda: self.client.version().as_json())
        version = str(answer.get("Version", "")) if isinstance(answer, dict) else ""
        numbers = re.match(r"([0-9]{1,6})\.([0-9]{1,6})", version)
        if numbers is None:
            raise StoreError(f"{self.api}: the node does not tell its version; is it an IPFS node?")
        if (int(numbers[1]), int(numbers[2])) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise StoreError(
                f"{self.api}: the IPFS node has version {short(version)}; {oldest} or newer is "
                "needed"
            )
        return version


def _reason(error: Exception) -> str:
    """A short reason why no answer came."""
    text = str(error)
    for sign, words in (
        ("refused", "is not running there (connection refused)"),
        ("Name or service", "has a name that cannot be resolved"),
        ("timed out", "broke off its answer"),
        ("reset", "broke off (connection reset)"),
        ("without response", "broke off without an answer"),
    ):
        if sign in text:
            return words
    return f"broke off or is none ({type(error).__name__})"
