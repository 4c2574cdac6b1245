"""The record of a chain some of whose blocks are replaced by others."""

from __future__ import annotations

from pathlib import Path

from bfedrec.merchants.model import encode
from bfedrec.merchants.rounds.checks import identity
from consensus.ethereum.chain import Chain
from tests.helpers.ethereum import ACCOUNTS, serving
from tests.helpers.portal import ONE_TIME, OWN, made, portal_of

FUNDED = [each.address for each in ACCOUNTS]
NAME = "shop-0"


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
            shared = shops.agreement.initial()
            shared.biases[0] = 1.25
            parent = shops.registry.read_round(1).parent
            assert parent is not None
            model = identity(encode(shared, shops.agreement.catalogue))
            shops.registry.publish(member.account, 1, parent.digest, model, 5)
            page = client.get("/record").text
            assert "✓" not in page
            assert page.count("not recomputed") == 2
            client.post("/record/verify")
            assert "✗ nothing is stored at its address" in client.get("/record").text

            server.chain = Chain(FUNDED)  # shorter, and without the registry
            assert client.get("/record").status == 503
