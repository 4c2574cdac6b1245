"""Search in a chain: by height, CID or the beginning of one, server and client.

What is looked through is bounded: all blocks for a server or a header's links, and of the retained
updates the newest `MOST_UPDATES`; where there is more, `Found.cut` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bfedrec.explorer.chain import RunChain
from bfedrec.runs.following import Followed
from consensus.encoding.cid import cid_text, is_cid
from consensus.encoding.fields import MalformedRecord
from consensus.records.update import UpdateRecord
from consensus.storage.live import LiveChain

MOST_FOUND: Final = 200
MOST_UPDATES: Final = 3000
LONGEST: Final = 100
"""Characters of the longest question that is looked at."""
SHORTEST_CID: Final = 8
"""Characters of the shortest beginning of a CID: all begin alike."""
SHORTEST_KEY: Final = 6

_SERVER = re.compile(r"(?:server|s)\s*#?\s*(\d{1,6})")
_CLIENT = re.compile(r"(?:client|c)\s*#?\s*(\d{1,9})")
_KEY = re.compile(rf"[0-9a-f]{{{SHORTEST_KEY},64}}")
_CID = re.compile(rf"b[a-z2-7]{{{SHORTEST_CID - 1},58}}")


@dataclass(frozen=True)
class Hit:
    """A place in the chain that a question leads to."""

    height: int
    what: str
    cid: str = ""


@dataclass(frozen=True)
class Found:
    """The result of a search."""

    meant: str
    """The question in words; empty for one that makes no sense."""
    hits: tuple[Hit, ...] = ()
    """The newest first."""
    cut: str = ""
    """The part that was not looked through, in words; empty if all was."""


def search(run: RunChain, question: str) -> Found:
    """Answer from a chain a question such as ``17``, ``server 3``, ``client 12``, a client's
    public key in hexadecimal digits or the beginning of a CID.

    Raises `bfedrec.runs.folder.RunError` and `consensus.storage.content.Busy`.
    """
    asked = question.strip().lower()[:LONGEST]
    if asked.isascii() and asked.isdigit() and len(asked) < 10:
        return run.ask(lambda chain: _height(chain, int(asked)))
    if server := _SERVER.fullmatch(asked):
        return run.ask(lambda chain: _server(run, chain, int(server[1])))
    if client := _CLIENT.fullmatch(asked):
        return run.ask(lambda chain: _client(run, chain, int(client[1]), ""))
    if _CID.fullmatch(asked):
        return run.ask(lambda chain: _cid(run, chain, asked))
    if _KEY.fullmatch(asked):
        return run.ask(lambda chain: _client(run, chain, None, asked))
    return Found("")


def _height(chain: LiveChain, height: int) -> Found:
    last = chain.last_height()
    hits = (Hit(height, "block"),) if 1 <= height <= last else ()
    return Found(f"height {height}", hits)


def _followed(run: RunChain, chain: LiveChain) -> list[tuple[int, Followed]]:
    """All blocks with their heights, the newest first."""
    found = run.follow(chain, chain.last_height())
    return list(enumerate(found, 1))[::-1]


def _server(run: RunChain, chain: LiveChain, server: int) -> Found:
    genesis = run.genesis(chain)
    if server >= len(genesis.servers):
        return Found(f"server {server}, and the chain has {len(genesis.servers)}")
    hits = []
    for height, block in _followed(run, chain):
        roles = []
        if block.aggregator == server:
            roles.append("proposed the block")
        if block.voters >> server & 1:
            roles.append("voted for it")
        if roles:
            hits.append(Hit(height, " and ".join(roles), cid_text(block.cid)))
    return _bounded(f"server {server}", hits)


def _client(run: RunChain, chain: LiveChain, number: int | None, key: str) -> Found:
    genesis = run.genesis(chain)
    meant = f"client {number}" if number is not None else f"client with the key {key}…"
    wanted = key
    if number is not None:
        if number >= len(genesis.clients):
            return Found(f"client {number}, and the chain has {len(genesis.clients)}")
        wanted = genesis.clients[number][0].hex()
    hits, cut = [], ""
    for looked, (height, record) in enumerate(_updates(chain)):
        if looked == MOST_UPDATES:
            cut = f"updates of height {height} and below were not looked through"
            break
        if record.client.hex().startswith(wanted):
            place = run.client_number(record.client)
            told = f"an update of client {place}, {record.samples} samples"
            hits.append(Hit(height, told, cid_text(record.payload)))
    cut = cut or "updates that the run no longer keeps are not in its chain"
    return Found(meant, tuple(hits[:MOST_FOUND]), cut)


def _updates(chain: LiveChain) -> Iterator[tuple[int, UpdateRecord]]:
    """The retained updates that can be read, the newest heights first."""
    kept = chain.update_range()
    if kept is None:
        return
    first, last = kept
    for height in range(min(last, chain.last_height()), max(0, first - 1), -1):
        for data in chain.updates(height):
            try:
                yield height, UpdateRecord.decode(data)
            except MalformedRecord:
                continue


def _cid(run: RunChain, chain: LiveChain, asked: str) -> Found:
    meant = f"CID {asked}" if len(asked) == 59 else f"CIDs that begin with {asked}"
    hits = []
    genesis = run.genesis(chain)
    for link, what in ((genesis.cid, "genesis"), (genesis.model, "initial model")):
        if cid_text(link).startswith(asked):
            hits.append(Hit(0, what, cid_text(link)))
    known, last = {genesis.model}, chain.last_height()
    for height, block in _followed(run, chain):
        links: tuple[tuple[bytes | None, str], ...] = (
            (block.cid, "header"),
            (block.model, "aggregate"),
            (block.snapshot, "snapshot"),
        )
        for found, what in links:
            if found is None:
                continue
            known.add(found)
            text = cid_text(found)
            if text.startswith(asked):
                hits.append(Hit(height, what, text))
                if what == "header" and height < last:
                    hits.append(Hit(height + 1, "parent", text))
    hits.extend(_payloads(chain, asked, known))
    return _bounded(meant, sorted(hits, key=lambda hit: -hit.height))


def _payloads(chain: LiveChain, asked: str, known: set[bytes]) -> list[Hit]:
    """The payloads of retained updates whose CID begins as asked."""
    held = [
        each
        for each in chain.cids_from(_bytes_of(asked), MOST_FOUND)
        if is_cid(each) and each not in known and cid_text(each).startswith(asked)
    ]
    if not held:
        return []
    wanted, hits = set(held), []
    for looked, (height, record) in enumerate(_updates(chain)):
        if looked >= MOST_UPDATES or not wanted:
            break
        if record.payload in wanted:
            hits.append(Hit(height, "payload of an update", cid_text(record.payload)))
            wanted.discard(record.payload)
    rest = "part of a larger file, or of updates that were not looked through"
    return hits + [Hit(0, rest, cid_text(each)) for each in sorted(wanted)]


def _bytes_of(text: str) -> bytes:
    """The bytes that the beginning of a CID's text fixes."""
    value = 0
    for each in text[1:]:
        value = value << 5 | "abcdefghijklmnopqrstuvwxyz234567".index(each)
    bits = 5 * (len(text) - 1)
    return (value >> bits % 8).to_bytes(bits // 8, "big")


def _bounded(meant: str, hits: list[Hit]) -> Found:
    cut = f"{len(hits) - MOST_FOUND:,} more are not shown" if len(hits) > MOST_FOUND else ""
    return Found(meant, tuple(hits[:MOST_FOUND]), cut)
