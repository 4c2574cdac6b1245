"""The three stores that are measured, each behind the same three operations.

`put` and `get` raise StoreError, in one line, for a store that fails or does not answer in time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from consensus.storage.content import StoreError
from consensus.storage.ipfs import IpfsStore
from consensus.storage.shared import SharedStore

PATIENCE: Final = 120.0
"""Seconds that a store may be silent."""

T = TypeVar("T")


class Place(Protocol):
    """A store under measurement."""

    about: str
    """The store with its version, in a few words."""

    def renew(self) -> None:
        """Forget the client that there was, with its connections, and make a new one."""

    def put(self, data: bytes) -> Any:
        """Store these bytes; their address."""

    def get(self, address: Any) -> bytes:
        """The bytes at an address."""

    def remove(self, address: Any, data: bytes) -> None:
        """Remove what was put."""

    def close(self) -> None:
        """End the client."""


class Embedded(Place):
    """The embedded store: one SQLite file."""

    def __init__(self, path: Path) -> None:
        import sqlite3

        self.about = f"embedded, SQLite {sqlite3.sqlite_version}"
        self._path = path
        self._store = SharedStore(path)

    def renew(self) -> None:
        self._store.close()
        self._store = SharedStore(self._path)

    def put(self, data: bytes) -> bytes:
        return self._store.put(data)

    def get(self, address: bytes) -> bytes:
        return self._store.get(address)

    def remove(self, address: bytes, data: bytes) -> None:
        self._store.remove(address)

    def close(self) -> None:
        self._store.close()


class Ipfs(Place):
    """An IPFS node, through the project's own store: pinned, with CIDs that are compared."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._store = self._new()
        self.about = f"IPFS node, version {self._store.version}"

    def _new(self) -> IpfsStore:
        return IpfsStore(self._api, timeout=PATIENCE, retries=0)

    def renew(self) -> None:
        self._store.close()
        self._store = self._new()

    def put(self, data: bytes) -> bytes:
        return self._store.put(data)

    def get(self, address: bytes) -> bytes:
        return self._store.get(address)

    def remove(self, address: bytes, data: bytes) -> None:
        self._store.erase(data)

    def close(self) -> None:
        self._store.close()


class S3(Place):
    """An S3 server; a bucket of its own is made, and removed at the end."""

    def __init__(self, url: str, key: str | None, secret: str | None) -> None:
        """``key`` and ``secret``: credentials, or None for those that boto3 finds (environment,
        its files). Raises StoreError where boto3 is missing or the server refuses."""
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            raise StoreError(
                f"an S3 server needs boto3 ({error}): pip install 'bfedrec[storage]'"
            ) from None
        self._url, self._errors = url, (BotoCoreError, ClientError, OSError, ValueError)
        config = Config(
            connect_timeout=10,
            read_timeout=PATIENCE,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        )
        session = boto3.session.Session(
            aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1"
        )
        self._new = lambda: session.client("s3", endpoint_url=url, config=config)
        self._bucket = f"bfedrec-{secrets.token_hex(6)}"
        self._client: Any = self._ask(self._new)
        made = self._ask(lambda: self._client.create_bucket(Bucket=self._bucket))
        server = made["ResponseMetadata"]["HTTPHeaders"].get("server", "a server without a name")
        self.about = f"S3, {server:.60}"

    def renew(self) -> None:
        self._client.close()
        self._client = self._ask(self._new)

    def put(self, data: bytes) -> str:
        address = secrets.token_hex(16)
        self._ask(lambda: self._client.put_object(Bucket=self._bucket, Key=address, Body=data))
        return address

    def get(self, address: str) -> bytes:
        def read() -> bytes:
            found = self._client.get_object(Bucket=self._bucket, Key=address)
            data: bytes = found["Body"].read()
            return data

        return self._ask(read)

    def remove(self, address: str, data: bytes) -> None:
        self._ask(lambda: self._client.delete_object(Bucket=self._bucket, Key=address))

    def close(self) -> None:
        with suppress(StoreError):  # the server may be what has failed
            self._ask(lambda: self._client.delete_bucket(Bucket=self._bucket))
        self._client.close()

    def _ask(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except self._errors as error:
            told = " ".join(str(error).split())
            raise StoreError(f"{self._url}: {told:.200}") from None
