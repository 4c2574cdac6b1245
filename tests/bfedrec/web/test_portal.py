"""The portal's pages and flows, as merchants use them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from requests import HTTPError
from web3.eth import Eth

from bfedrec.web.portal.jobs import left_by_another_life
from bfedrec.web.portal.ledger import LedgerReader
from consensus.storage.content import Unavailable
from tests.helpers.portal import ONE_TIME, OWN, Served, portal_of, portals
from tests.helpers.web import PATIENCE, Client

HEADER = (
    b"event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with portals(tmp_path_factory.mktemp("portal")) as found:
        yield found


def wait(served: Served, name: str) -> None:
    """Wait until a merchant's job has ended well."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.05)):
        progress = served.portal.market.jobs.progress(name)
        if not progress.running:
            assert progress.problem == ""
            return
        pause.wait(0.05)
    raise AssertionError(f"{name}: {progress}")


def test_log_in_with_a_one_time_password(tmp_path: Path) -> None:
    with portals(tmp_path, changed=False) as served:
        client = Client(served.port)
        assert client.get("/").where == "/login"
        page = client.get("/login")
        assert all(name in page.text for name in ONE_TIME)
        answer = client.post("/login", merchant=" Shop-0 ", password=ONE_TIME["shop-0"])
        assert (answer.status, answer.where) == (303, "/password")
        cookie = answer.headers["Set-Cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        # Nothing else before it is changed.
        for path in ("/home", "/contribute", "/record", "/recommendations", "/"):
            assert client.get(path).where == "/password"
        page = client.get("/password")
        assert "one-time password" in page.text
        for old, new, again, told in (
            ("wrong words", OWN["shop-0"], OWN["shop-0"], "not right"),
            (ONE_TIME["shop-0"], OWN["shop-0"], "other words", "differ"),
            (ONE_TIME["shop-0"], "short", "short", "10 to 200"),
            (ONE_TIME["shop-0"], ONE_TIME["shop-0"], ONE_TIME["shop-0"], "is the old one"),
        ):
            answer = client.post("/password", old=old, new=new, again=again)
            assert answer.status == 422
            assert told in answer.text
        before = dict(client.cookies)
        new = OWN["shop-0"]
        answer = client.post("/password", old=ONE_TIME["shop-0"], new=new, again=new)
        assert (answer.status, answer.where) == (303, "/home")
        assert client.cookies != before
        assert client.get("/home").status == 200
        # The session of the one-time password has ended.
        assert Client(served.port, before).get("/home").where == "/login"
        assert Client(served.port).log_in("shop-0", ONE_TIME["shop-0"]).status == 403
        assert client.post("/logout").where == "/login"
        assert client.get("/home").where == "/login"


def test_wrong_names_and_passwords(served: Served) -> None:
    client = Client(served.port)
    answer = client.log_in("shop-9", OWN["shop-0"])
    assert answer.status == 403
    assert "There is no merchant “shop-9”" in answer.text
    told = []
    for _ in range(5):
        answer = client.log_in("shop-2", "wrong words")
        assert answer.status == 403
        told.append(re.sub("[0-9a-f]{64}", "", answer.text))
    assert len(set(told)) == 1
    assert "do not match" in told[0]
    # Right or wrong, the sixth has to wait; others do not.
    for password in (OWN["shop-2"], "wrong words"):
        answer = client.log_in("shop-2", password)
        assert answer.status == 429
        assert "Too many attempts" in answer.text
        assert int(answer.headers["Retry-After"]) > 0
    assert Client(served.port).log_in("shop-1", OWN["shop-1"]).where == "/home"
    served.portal.by_pair.forget(("shop-2", "127.0.0.1"))
    assert client.log_in("shop-2", OWN["shop-2"]).where == "/home"


def test_a_broken_file_is_told_row_by_row(served: Served) -> None:
    client = served.client("shop-0")
    page = client.get("/contribute")
    assert page.status == 200
    files = len(served.portal.market.shop("shop-0").files())
    good = served.portal.market.shop("shop-0").workspace.event_files()[0].read_bytes().split(b"\n")
    rows = [*good[1:4], b"rubbish", *good[4:6], good[6].replace(b"view", b"look"), b"x" * 5000]
    content = HEADER + b"\n".join(rows) + b"\n"
    answer = client.upload("/uploads", content, "my events.csv")
    assert answer.status == 303
    page = client.get(answer.where)
    assert "my events.csv" in page.text
    assert "line 5" not in page.text  # the line has a column of its own
    for told in ("has 1 cells instead of 9", "event_type &#39;look&#39; is not one of"):
        assert told in page.text
    bad = client.get(f"{answer.where}/bad.csv")
    assert bad.headers["Content-Type"].startswith("text/csv")
    assert "attachment" in bad.headers["Content-Disposition"]
    lines = bad.text.splitlines()
    assert lines[0] == "line,problem"
    assert [line.partition(",")[0] for line in lines[1:]] == ["5", "8", "9"]
    # Nothing is lost: what is kept are the bytes as they came.
    assert client.post(f"{answer.where}/keep").where == "/contribute"
    kept = served.portal.market.shop("shop-0").workspace.event_files()
    assert len(kept) == files + 1
    assert kept[-1].read_bytes() == content
    assert client.get(answer.where).status == 404
    assert "my-events.csv" in client.get("/contribute").text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "a file of events begins with"),
        (HEADER, "none of which can be used"),
        (HEADER + b"rubbish\n", "has 1 cells instead of 9"),
        (b"\x1f\x8b\x08\x00broken", "damaged"),
        (b"PK\x03\x04broken", "damaged"),
    ],
)
def test_what_is_no_file_of_events_is_refused_in_a_line(
    served: Served, content: bytes, told: str
) -> None:
    client = served.client("shop-1")
    client.get("/contribute")
    answer = client.upload("/uploads", content, "no events.csv")
    assert answer.status == 422
    assert told in answer.text
    assert str(served.folder) not in answer.text
    folder = served.portal.market.shop("shop-1").uploads.folder
    assert list(folder.iterdir()) == []
    assert client.post("/uploads").status == 422


def test_uploads_may_be_discarded_and_are_bounded_in_number(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bfedrec.web.portal.uploads.MOST_PENDING", 2)
    client = served.client("shop-1")
    content = served.portal.market.shop("shop-1").workspace.event_files()[0].read_bytes()
    client.get("/contribute")
    places = [client.upload("/uploads", content).where for _ in range(2)]
    assert places == ["/uploads/1", "/uploads/2"]
    answer = client.upload("/uploads", content)
    assert answer.status == 422
    assert "wait already" in answer.text
    for place in places:
        client.get(place)
        assert client.post(f"{place}/discard").where == "/contribute"
        assert client.get(place).status == 404


def test_a_round_with_a_missing_merchant_and_its_record(served: Served) -> None:
    clients = {name: served.client(name) for name in ("shop-0", "shop-1")}
    number = served.shops.registry.current_round()
    for name, client in clients.items():
        client.get("/contribute")
        assert client.post("/train").where == "/contribute"
        wait(served, name)
        page = client.get("/contribute").text
        assert "Training is done" in page
        assert "in transaction 0x" in page
        assert "better than a constant" in page
        assert f"Loss by epoch, round {number}" in page
    page = clients["shop-0"].get("/contribute").text
    assert "2 of 3" in page
    assert "missing" in page
    for name, client in clients.items():
        client.get("/contribute")
        client.post("/aggregate")
        wait(served, name)
    assert served.shops.registry.current_round() == number + 1
    page = clients["shop-0"].get("/record")
    assert page.status == 200
    assert "not recomputed" in page.text
    for told in ("publish", "attest", "RoundClosed", "deployment", "beginning"):
        assert told in page.text
    assert clients["shop-0"].post("/record/verify").where == "/record"
    page = clients["shop-0"].get("/record").text
    assert "✓ all verified" in page
    assert "not recomputed" not in page
    # What the two shops learned together, beside each alone.
    for _ in range(20):
        page = clients["shop-0"].get("/recommendations").text
        if "is being trained" not in page:
            break
    assert "Learned together" in page
    assert "Learned alone" in page
    assert "need a model of your own" in served.client("shop-2").get("/recommendations").text


def test_a_store_that_keeps_one_page_waiting_holds_up_no_other(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the round before, of which the store has the aggregate."""
    market = served.portal.market
    asked, go_on = threading.Event(), threading.Event()

    class Slow:
        def get_at_most(self, cid: bytes, most: int) -> bytes:
            asked.set()
            assert go_on.wait(PATIENCE)
            raise Unavailable("the store is too slow")

    other = served.client("shop-2")
    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(market, "_store", Slow())
        patch.setattr(market, "_advice", {})
        waiting = pool.submit(served.client("shop-0").get, "/recommendations")
        try:
            assert asked.wait(PATIENCE)
            assert pool.submit(other.get, "/home").result(PATIENCE / 4).status == 200
        finally:
            go_on.set()
        assert "the store is too slow" in waiting.result(PATIENCE).text


def test_a_refused_transaction_is_on_the_record(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, name = served.shops.registry, "shop-2"
    node, account = registry.node, served.shops.member(name).account
    digest = bytes(range(32))
    call = node.contract(registry.address).functions.publish(99, digest, b"<b>", digest, 5)
    raw = account.sign_transaction(
        call.build_transaction(
            {
                "from": account.address,
                "nonce": node.web3.eth.get_transaction_count(account.address),
                "chainId": node.chain_id,
                "gas": 500_000,
            }
        )
    )
    node.web3.eth.send_raw_transaction(raw.raw_transaction)
    page = served.client("shop-0").get("/record").text
    assert "1 refused" in page
    assert "WrongRound(given=99" in page
    assert "<b>" not in page
    assert page.count('<span class="badge bad">refused</span>') == 1

    def busy(self: Eth, *given: object) -> None:
        raise HTTPError("429 Too Many Requests for url: https://node.example/v3/SECRET")

    monkeypatch.setattr(Eth, "call", busy)
    (told,) = filter(None, (each.refused for each in LedgerReader(registry).read().transactions))
    assert told == "refused in its block"


def test_live_events_end_with_the_job(served: Served) -> None:
    client = served.client("shop-2")
    client.get("/contribute")
    client.post("/train")
    told = client.get("/live")
    assert told.headers["Content-Type"].startswith("text/event-stream")
    assert "event: fragment" in told.text
    assert "event: figure" in told.text
    assert told.text.rstrip().endswith("event: done\r\ndata:")
    wait(served, "shop-2")
    assert Client(served.port).get("/live").status == 401


def test_a_job_of_a_killed_portal_goes_on(served: Served) -> None:
    folder = served.portal.market.shop("shop-1").workspace.path
    (folder / "portal-job.json").write_text('{"kind": "train"}')
    with portal_of(served.folder, served.shops) as again:
        wait(again, "shop-1")
        assert left_by_another_life(folder) is None
        number = served.shops.registry.current_round()
        published = served.shops.registry.read_round(number).publications
        address = served.shops.agreement.merchants["shop-1"]
        assert [each.merchant for each in published].count(address) == 1


def test_pages_say_that_the_chain_is_out_of_reach(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = served.client("shop-0")
    client.get("/contribute")
    client.post("/train")  # without a model there is nothing to ask the chain for
    wait(served, "shop-0")
    monkeypatch.setattr(
        served.shops.registry.node.web3.provider, "endpoint_uri", "http://127.0.0.1:9"
    )
    market = served.portal.market
    monkeypatch.setattr(market._registry().node.web3.provider, "endpoint_uri", "http://127.0.0.1:9")
    for path, status in (("/contribute", 200), ("/record", 503), ("/recommendations", 200)):
        page = client.get(path)
        assert page.status == status
        assert "no Ethereum node answers" in page.text
