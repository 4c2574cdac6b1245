"""A content store on a running IPFS node (Kubo or js-ipfs), spoken to over its HTTP RPC API.

Every file is added as CIDv1 with raw leaves and pinned recursively, every record put as a DAG-CBOR
node and pinned by itself, so the node gives them the addresses that `consensus.cid` and
`consensus.unixfs` give, and an answer with any other address is an error. A pinned header links to
its parent and its model: from a chain's head a path such as HEAD/parent/parent/model leads to any
model, with any tool that speaks IPLD.

Every wait is bounded. What fails because the node is gone or silent is tried again after a pause,
as every request here may be repeated; what the node refuses is not.
"""

from __future__ import annotations

import io
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, NoReturn, TypeVar

from consensus.cid import CBOR, cid_text, codec
from consensus.content import ContentStore, NotFound, StoreError, readable
from consensus.unixfs import file_cid, read_file

__all__ = ["IpfsStore"]

OLDEST: Final = (0, 10)
"""The oldest version that takes these requests, of Kubo and of js-ipfs's core alike."""
BATCH_BYTES: Final = 16 * 2**20
PINS_PER_REQUEST: Final = 100  # an address is 59 characters, and a request's line holds some 8,000
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds between two tries; doubles each time
MISSING_SECONDS: Final = 5.0
"""How long the node may look for a block that is not there: it cannot know that nobody has it."""

_BASE: Final = {"cid-base": "base32"}
_FULL: Final = re.compile(r"ENOSPC|EDQUOT|no space left|disk quota|storage ?max|disk is full", re.I)

T = TypeVar("T")


class IpfsStore(ContentStore):
    """Bytes by CID on an IPFS node: what is put is pinned there, what is removed is unpinned.

    The bytes of what was removed stay on the node until it collects them (`collect`). Every method
    raises StoreError, in one line that names the node, where the node is absent, refuses, is full
    or stays silent; NotFound where it does not come by the content within MISSING_SECONDS.
    """

    def __init__(self, api: str, timeout: float = 30.0, retries: int = 5) -> None:
        """Connect to the node at the multiaddr `api` and check its version.

        ``timeout``: seconds that one answer may take. ``retries``: tries after a failed first one,
        FIRST_PAUSE to LONGEST_PAUSE seconds apart; the first request, by which an absent node is
        told, has none.
        """
        try:
            import ipfshttpclient
            from ipfshttpclient import exceptions
            from requests import RequestException
        except ImportError as error:
            raise StoreError(
                f"an IPFS node needs ipfshttpclient ({error}): pip install 'bfedrec[ipfs]'"
            ) from None
        self.api = api
        self.interruptions = 0
        """Requests so far to which no whole answer came: the node was away, or may have been."""
        self._exceptions = exceptions
        # AssertionError and LookupError: what the client makes of an answer cut off.
        self._cut_off = (
            exceptions.ConnectionError,
            exceptions.ProtocolError,
            exceptions.DecodingError,
            RequestException,
            AssertionError,
            LookupError,
        )
        self._timeout = timeout
        self._retries = 0
        try:
            # `connect` would refuse every node newer than 0.8.
            self._client = ipfshttpclient.Client(api, session=True, timeout=timeout)
        except exceptions.AddressError:
            raise StoreError(
                f"{api}: not the address of an IPFS node, as /ip4/127.0.0.1/tcp/5001"
            ) from None
        try:
            with warnings.catch_warnings():  # urllib3's, about how the client opens connections
                warnings.simplefilter("ignore", FutureWarning)
                self.version = self._check_version()
        except BaseException:
            self.close()
            raise
        self._retries = retries

    def close(self) -> None:
        """Close the connection; whatever was put stays."""
        self._client.close()

    def __enter__(self) -> IpfsStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- many at once ---------------------------------------------------------------------------

    def put_files(self, files: Sequence[bytes]) -> list[bytes]:
        """Keep every one of `files`, in few requests; their CIDs."""
        cids = [file_cid(data) for data in files]
        pending = dict(zip(cids, files, strict=True))
        for batch in _batches(pending):
            self._add(batch)
        return cids

    def pins(self) -> set[str]:
        """The text of every CID pinned on the node recursively or by itself, others' included."""
        found: set[str] = set()
        for kind in ("recursive", "direct"):
            request = partial(self._client.pin.ls, type=kind, opts=dict(_BASE))
            found.update(self._ask(request)["Keys"])
        return found

    def remove_all(self, cids: Sequence[bytes]) -> None:
        """Unpin whatever of `cids` is pinned. What is not, is left as it is: a try that was cut
        off may have got through."""
        pinned = self.pins() if cids else set()
        left = [text for text in map(cid_text, dict.fromkeys(cids)) if text in pinned]
        for start in range(0, len(left), PINS_PER_REQUEST):
            some = left[start : start + PINS_PER_REQUEST]
            try:
                self._ask(partial(self._client.pin.rm, *some))
            except NotFound:  # by a try that was cut off: one by one, what is gone is gone
                for text in some:
                    if self._is_pinned(text):
                        self._ask(partial(self._client.pin.rm, text))

    def collect(self) -> int:
        """Have the node delete every block that nothing pinned needs, whoever put it there; how
        many they were."""
        return len(self._ask(self._client.repo.gc))

    # --- one at a time --------------------------------------------------------------------------

    def get(self, cid: bytes) -> bytes:
        """As `ContentStore.get`; a file arrives in one request."""
        if _codec(cid) == CBOR:
            return self.block_bytes(cid)
        if not self.has(cid):
            raise NotFound(f"{self.api}: {cid_text(cid)} is not on this node")
        options = {"timeout": f"{self._timeout:g}s", "offline": "true"}
        patience = self._timeout + 2  # the node tells that it gives up
        data: bytes = self._ask(
            lambda: self._client.cat(cid_text(cid), opts=options, timeout=patience), missing=cid
        )
        if file_cid(data) != cid:
            raise StoreError(
                f"{self.api}: what the node has as {cid_text(cid)} has another hash or lacks a part"
            )
        return data

    def has(self, cid: bytes) -> bool:
        try:
            self._find(cid, lambda opts: self._client.block.stat(cid_text(cid), opts=opts))
        except NotFound:
            return False
        return True

    def remove(self, cid: bytes) -> None:
        """Unpin `cid`. Raises NotFound if it is not pinned."""
        if not self._kept(cid):
            raise NotFound(f"{self.api}: {readable(cid)} is not pinned on this node")
        self._release(cid, ())

    def _block(self, cid: bytes) -> bytes:
        data: bytes = self._find(cid, lambda opts: self._client.block.get(cid_text(cid), opts=opts))
        return data

    def _kept(self, root: bytes) -> bool:
        _codec(root)
        return self._is_pinned(cid_text(root))

    def _keep(self, root: bytes, blocks: Mapping[bytes, bytes]) -> None:
        if codec(root) != CBOR:
            self._add({root: read_file(root, blocks.__getitem__)})
            return
        options = {"format": "dag-cbor", "mhtype": "sha2-256", "version": 1, "pin": "false"}
        answer = self._ask(
            lambda: self._client.block.put(io.BytesIO(blocks[root]), opts={**options, **_BASE})
        )
        self._same([root], [answer["Key"]])
        # By itself: a header reaches the whole chain, which is pinned already, header by header.
        self._ask(lambda: self._client.pin.add(cid_text(root), recursive=False))

    def _release(self, root: bytes, cids: Sequence[bytes]) -> None:
        self.remove_all([root])

    # --- requests -------------------------------------------------------------------------------

    def _add(self, files: Mapping[bytes, bytes]) -> None:
        def request() -> list[str]:
            answer = self._client.add(
                *map(io.BytesIO, files.values()),
                pin=True,
                raw_leaves=True,
                cid_version=1,
                opts=dict(_BASE),
            )
            return [entry["Hash"] for entry in (answer if len(files) > 1 else [answer])]

        self._same(list(files), self._ask(request))

    def _same(self, ours: list[bytes], theirs: list[str]) -> None:
        for cid, text in zip(ours, theirs, strict=False):
            if cid_text(cid) != text:
                raise StoreError(
                    f"{self.api}: the node gives the address {text} to what is {cid_text(cid)}"
                )
        if len(ours) != len(theirs):
            raise StoreError(f"{self.api}: {len(ours)} files put, {len(theirs)} addresses given")

    def _is_pinned(self, text: str) -> bool:
        try:
            self._ask(lambda: self._client.pin.ls(text))
        except NotFound:
            return False
        return True

    def _find(self, cid: bytes, request: Callable[[dict[str, str]], T]) -> T:
        """The answer to a request for content, which the node gives up after a while."""
        _codec(cid)
        seconds = min(MISSING_SECONDS, self._timeout / 2)
        options = {"timeout": f"{seconds:g}s", "offline": "true", **_BASE}
        return self._ask(lambda: request(options), missing=cid)

    def _ask(self, request: Callable[[], T], missing: bytes | None = None) -> T:
        """The answer to a request, tried again where none came."""
        pause = FIRST_PAUSE
        for left in range(self._retries, -1, -1):
            try:
                return request()
            except self._exceptions.TimeoutError:
                reason = f"did not answer within {self._timeout:g} s"
            except self._cut_off as error:
                reason = _reason(error)
            except self._exceptions.ErrorResponse as error:
                self._refused(str(error), missing)
            except self._exceptions.StatusError as error:
                status = getattr(getattr(error.original, "response", None), "status_code", "?")
                raise StoreError(
                    f"{self.api}: does not answer as an IPFS node's RPC API does (HTTP status "
                    f"{status}); is this the address under Addresses.API in its config?"
                ) from None
            self.interruptions += 1
            if left:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        tries = f", {self._retries + 1} times" if self._retries else ""
        raise StoreError(f"{self.api}: the IPFS node {reason}{tries}")

    def _refused(self, message: str, missing: bytes | None) -> NoReturn:
        """Raise what an error of the node's means."""
        text = " ".join(message.split())[:300]
        if "not pinned" in text:
            raise NotFound(f"{self.api}: {text}") from None
        if _FULL.search(text):
            raise StoreError(f"{self.api}: the IPFS node is full: {text}") from None
        if missing is not None and re.search(
            r"not found|timed out|could not find|deadline exceeded|no link named", text, re.I
        ):
            raise NotFound(f"{self.api}: {cid_text(missing)} is not on this node") from None
        raise StoreError(f"{self.api}: the IPFS node refused: {text}") from None

    def _check_version(self) -> str:
        answer: Any = self._ask(self._client.version)
        version = str(answer.get("Version", "")) if isinstance(answer, Mapping) else ""
        numbers = re.match(r"(\d+)\.(\d+)", version)
        if numbers is None:
            raise StoreError(f"{self.api}: the node does not tell its version; is it an IPFS node?")
        if (int(numbers[1]), int(numbers[2])) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise StoreError(
                f"{self.api}: the IPFS node has version {version}; {oldest} or newer is needed"
            )
        return version


def _codec(cid: bytes) -> int:
    """`cid.codec`, for a store: raises StoreError for what is no CID."""
    try:
        return codec(cid)
    except ValueError as error:
        raise StoreError(str(error)) from None


def _batches(files: Mapping[bytes, bytes]) -> Iterator[dict[bytes, bytes]]:
    """`files` in parts of at most BATCH_BYTES, or of one file."""
    batch: dict[bytes, bytes] = {}
    size = 0
    for cid, data in files.items():
        if batch and size + len(data) > BATCH_BYTES:
            yield batch
            batch, size = {}, 0
        batch[cid] = data
        size += len(data)
    if batch:
        yield batch


def _reason(error: Exception) -> str:
    """Why no answer came, in a few words."""
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
