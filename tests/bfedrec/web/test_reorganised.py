"""The record of a chain some of whose blocks are replaced by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bfedrec.merchants.model import encode
from bfedrec.merchants.rounds.audit import Audited, audit
from bfedrec.merchants.rounds.checks import identity
from bfedrec.web.portal.ledger import LedgerReader
from consensus.ethereum.chain import Chain
from consensus.ethereum.errors import EthereumError
from consensus.ethereum.records import Entry
from tests.helpers.ethereum import ACCOUNTS, serving
from tests.helpers.portal import ONE_TIME, OWN, made, portal_of
from tests.helpers.shops import OWNERS, Shops

FUNDED = [each.address for each in ACCOUNTS]
NAME = "shop-0"


def publish(shops: Shops, bias: float) -> None:
    """Publish a model that is stored nowhere."""
    shared = shops.agreement.initial()
    shared.biases[0] = bias
    parent = shops.registry.read_round(1).parent
    assert parent is not None
    model = identity(encode(shared, shops.agreement.catalogue))
    shops.registry.publish(OWNERS[NAME], 1, parent.digest, model, 5)


def test_a_verdict_is_on_the_blocks_that_were_looked_at(tmp_path: Path) -> None:
    with serving(Chain(FUNDED, tmp_path / "chain")) as server:
        shops = made(tmp_path, server.url)
        before = (tmp_path / "chain").read_bytes()
        member = shops.member(NAME)
        member.train()
        member.publish()
        with portal_of(tmp_path, shops) as served:
            served.portal.accounts.change(NAME, ONE_TIME[NAME], OWN[NAME])
            client = served.client(NAME)
            client.get("/record")
            assert client.post("/record/verify").where == "/record"
            page = client.get("/record").text
            assert page.count("✓ verified") == 2  # of the initial model and the one
            assert "not recomputed" not in page

            (tmp_path / "other chain").write_bytes(before)
            server.chain = Chain(FUNDED, tmp_path / "other chain")
            publish(shops, 1.25)
            page = client.get("/record").text
            assert "✓" not in page
            assert page.count("not recomputed") == 2
            client.post("/record/verify")
            assert "✗ nothing is stored at its address" in client.get("/record").text

            server.chain = Chain(FUNDED)  # shorter, and without the registry
            assert client.get("/record").status == 503


def test_a_verdict_is_on_the_blocks_that_came_meanwhile_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Chain(FUNDED, tmp_path / "chain")) as server:
        shops = made(tmp_path, server.url)
        (tmp_path / "other chain").write_bytes((tmp_path / "chain").read_bytes())
        with portal_of(tmp_path, shops) as served:
            market = served.portal.market

            def later(*given: Any) -> Audited:
                publish(shops, 1.25)
                return audit(*given)

            with monkeypatch.context() as patch:
                patch.setattr("bfedrec.web.portal.market.audit", later)
                market.verify()
            found = market.recomputed()
            assert found is not None
            assert found.models == 1
            assert found.height == shops.registry.since  # no later one was looked at in full
            server.chain = Chain(FUNDED, tmp_path / "other chain")
            publish(shops, 1.5)
            assert market.recomputed() is None

            def replaced(*given: Any) -> Audited:
                found = audit(*given)
                server.chain = Chain(FUNDED)
                return found

            monkeypatch.setattr("bfedrec.web.portal.market.audit", replaced)
            with pytest.raises(EthereumError, match="changed while it was read"):
                market.verify()


def test_events_and_blocks_of_two_chains_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Chain(FUNDED, tmp_path / "chain")) as server:
        shops = made(tmp_path, server.url)
        (tmp_path / "other chain").write_bytes((tmp_path / "chain").read_bytes())
        publish(shops, 1.25)
        first, server.chain = server.chain, Chain(FUNDED, tmp_path / "other chain")
        publish(shops, 1.5)
        second, server.chain = server.chain, first
        reader, record = LedgerReader(shops.registry), shops.registry.record

        def replaced(since: int, until: int) -> list[Entry]:
            found = record(since, until)
            server.chain = second
            return found

        with monkeypatch.context() as patch:
            patch.setattr(shops.registry, "record", replaced)
            with pytest.raises(EthereumError, match="changed while it was read"):
                reader.read()
        last = reader.read().transactions[-1]
        assert last.operation == "publish"
        assert [name for name, _ in last.events] == ["Published"]


def test_what_is_known_of_one_chain_is_not_continued_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Chain(FUNDED, tmp_path / "chain")) as server:
        shops = made(tmp_path, server.url)
        (tmp_path / "other chain").write_bytes((tmp_path / "chain").read_bytes())
        publish(shops, 1.25)
        first, server.chain = server.chain, Chain(FUNDED, tmp_path / "other chain")
        publish(shops, 1.5)
        second, server.chain = server.chain, first
        reader = LedgerReader(shops.registry)
        assert len(reader.read().transactions) == 2
        hash_of = reader._hash

        def replaced(number: int) -> bytes:
            found = hash_of(number)
            server.chain = second
            return found

        with monkeypatch.context() as patch:
            patch.setattr(reader, "_hash", replaced)
            with pytest.raises(EthereumError, match="changed while it was read"):
                reader.read()
        known = reader.read().transactions
        assert known == LedgerReader(shops.registry).read().transactions
