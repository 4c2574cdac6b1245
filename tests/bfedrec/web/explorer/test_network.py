"""The pages of a run's network and of a height's timeline, over HTTP."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bfedrec.runs.figures import LEDGER, NO_LEDGER
from bfedrec.runs.timelines import TIMELINE as FILE
from bfedrec.runs.timelines import append_timeline
from bfedrec.web.explorer.network import network_of, since
from consensus.simulation.layout import Malice
from consensus.simulation.timeline import Event, HeightTimeline, Named
from tests.helpers.shown import play, served, write_run
from tests.helpers.timelines import TIMELINE, timelines
from tests.helpers.web import Client

CUT = "faults=[{partition: [[0, 1], [2, 3]], from: 1, until: 6}, {crash: [3], from: 1, until: 5}]"
BAD = "servers.malicious=[{behaviour: equivocate_votes, servers: [1], from: 2, until: 4}]"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real runs: one with a partition, one of ``paper``, and one that stalls."""
    root = tmp_path_factory.mktemp("runs")
    play(root / "cut", CUT, BAD)
    cloud = ("servers.round_trips=ibm-cloud-2024", "servers.placement=[Tokyo, Madrid]")
    play(root / "cloud", *cloud, "servers.regions=4")
    play(root / "paper", "protocol=paper", BAD, CUT)
    config = root / "stall"
    with pytest.raises(AssertionError):  # the command's exit status
        play(config, "faults=[{crash: 1/2, from: 2}]")
    return root


@pytest.fixture(scope="module")
def client(played: Path) -> Iterator[Client]:
    with served(played) as found:
        yield found


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Client]:
    with served(tmp_path) as found:
        yield found


def lines_of(folder: Path) -> list[HeightTimeline]:
    text = (folder / FILE).read_text(encoding="utf-8")
    return [HeightTimeline.from_line(line) for line in text.splitlines()]


def write_timelines(folder: Path, found: list[HeightTimeline]) -> None:
    for each in found:
        append_timeline(folder, each)


def test_regions_with_names_are_told_by_them(client: Client) -> None:
    page = client.get("/network/cloud")
    assert page.status == 200
    assert "honest, region" not in page.text
    assert page.text.count(">Tokyo</text>") == page.text.count(">Madrid</text>") == 1
    assert "Server 1, region Madrid, stake" in page.text
    assert '<td class="number">Madrid' not in page.text
    assert "<td>Madrid</td>" in page.text
    assert '<th scope="row">Tokyo</th><td class="number">0.9</td>' in page.text


def test_the_network_as_laid_out(client: Client, played: Path) -> None:
    page = client.get("/network/cut")
    assert page.status == 200
    layout = network_of(played / "cut").layout
    assert page.text.count("<line ") == len(layout.links or ()) + 1  # and one in the legend
    for server in layout.servers:
        assert f"Server {server.index}" in page.text
    assert page.text.count('<g class="server malicious" transform') == 1
    assert "Server 1 (malicious: equivocate_votes), region" in page.text
    assert "equivocate_votes, heights 2 to 4" in page.text
    assert "1 of 4 servers is malicious, with 25.0 % of the stake" in page.text
    assert "partition: 0, 1 | 2, 3, from 1.0 s until 6.0 s" in page.text
    assert "Timelines: heights 1 to 6." in page.text


def test_the_network_at_a_height(client: Client, played: Path) -> None:
    (cut,) = [each for each in lines_of(played / "cut") if each.cut_off.count]
    page = client.get(f"/network/cut?height={cut.height}")
    assert page.status == 200
    assert f"At height {cut.height}" in page.text
    assert f'href="/timeline/{cut.height}/cut"' in page.text
    assert f'href="/block/{cut.height}/cut"' in page.text
    assert cut.down == Named.of([3])
    assert page.text.count('class="badge bad">✕ down') == 1
    assert page.text.count('class="badge bad">cut off') == cut.cut_off.count
    assert page.text.count('class="link severed"') > 1
    assert re.search(r"<title>Server 3, region \d, stake 100, down, cut off</title>", page.text)
    whole = client.get("/network/cut?height=1")
    assert "✕ down" not in whole.text
    assert 'class="link severed"' not in whole.text


def test_behaviours_count_at_their_heights(client: Client) -> None:
    before, within = (client.get(f"/network/cut?height={height}").text for height in (1, 2))
    assert "0 of 4 servers are malicious at height 1" in before
    assert "honest at this height" in before
    assert '<g class="server malicious" transform' not in before
    assert "1 of 4 servers is malicious at height 2" in within
    assert "honest at this height" not in within


@pytest.mark.parametrize("asked", ["x", "-1", "1.5", "²", "<b>", "0", "99999"])
def test_a_height_that_is_none_is_told(client: Client, asked: str) -> None:
    page = client.get("/network/cut?height=" + "".join(f"%{b:02x}" for b in asked.encode()))
    assert page.status == 200
    assert ("is no height" in page.text) != ("There is no timeline of height" in page.text)
    assert "<b>" not in page.text.replace("<b>violated", "")


def test_a_timeline_says_who_did_what_when(client: Client, played: Path) -> None:
    (cut,) = [each for each in lines_of(played / "cut") if each.cut_off.count]
    page = client.get(f"/timeline/{cut.height}/cut")
    assert page.status == 200
    acting = [each for each in cut.events if each.server is not None]
    assert page.text.count("<use href") >= len(acting)
    rows = re.findall(
        r"<tr><td class=\"number\">([0-9.]+)</td>.*?<td>(?!<)(.*?)</td></tr>", page.text
    )
    assert [float(each) for each, _ in rows] == [
        round((event.at_us - cut.began_us) / 1e6, 3) for event in cut.events
    ]
    for kind, told in (("proposed", "proposes block"), ("voted", "votes for"), ("cut", "is cut")):
        found = sum(told in sentence for _, sentence in rows)
        assert found == sum(each.kind == kind for each in cut.events) > 0
    assert "Server 3 goes down (fault: crash)." in page.text
    assert 'class="gone"' in page.text
    assert page.text.count('class="turn ') == 2
    assert f'href="/timeline/{cut.height - 1}/cut"' in page.text
    assert f'href="/timeline/{cut.height + 1}/cut"' in page.text
    assert f'href="/block/{cut.height}/cut"' in page.text
    assert f'href="/network/cut?height={cut.height}"' in page.text
    assert f"Height {cut.height}: decided." in page.text


def test_a_timeline_of_paper_and_of_a_stalled_run(client: Client, played: Path) -> None:
    paper = client.get("/timeline/1/paper")
    assert paper.status == 200
    assert "votes for block" in paper.text
    assert "first phase" in paper.text
    last = lines_of(played / "stall")[-1]
    assert last.outcome == "stalled"
    stalled = client.get(f"/timeline/{last.height}/stall")
    assert stalled.status == 200
    assert "stopped: the servers could not agree on a block" in stalled.text
    assert "/block/" not in stalled.text
    assert 'rel="next"' not in stalled.text
    assert "has waited long enough" in stalled.text


def test_why_attempts_failed(shown: Client, tmp_path: Path) -> None:
    write_timelines(write_run(tmp_path / "run"), timelines(7))
    page = shown.get("/timeline/7/run").text
    assert "Attempt 0: All servers gave it up together" in page
    assert "2 earlier ones are not kept" in page
    assert "not kept: 12 more received" in page
    assert "second vote 1" in page
    assert "Server 1 holds proof that server 3 contradicted itself" in page


def test_a_run_without_timelines_says_what_to_do(shown: Client, tmp_path: Path) -> None:
    write_run(tmp_path / "old")
    network = shown.get("/network/old?height=3")
    assert network.status == 200
    timeline = shown.get("/timeline/3/old")
    assert timeline.status == 404
    for page in (network.text, timeline.text):
        assert "no timeline.jsonl" in page
        assert "run again: bfedrec run" in page


def test_a_live_run_shows_what_is_there(shown: Client, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "live")
    write_timelines(folder, timelines(2))
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(timelines(3)[-1].line()[:500])  # a line that is being written
    assert "heights 1 to 2" in shown.get("/network/live").text
    assert 'rel="next"' not in shown.get("/timeline/2/live").text
    missing = shown.get("/timeline/3/live")
    assert missing.status == 404
    assert "There is no timeline of height 3." in missing.text
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(timelines(3)[-1].line()[500:] + "\n")
    assert 'rel="next"' in shown.get("/timeline/2/live").text
    assert shown.get("/timeline/3/live").status == 200


@pytest.mark.parametrize("height", ["0", "9" * 30, "9" * 5000])
def test_a_height_that_nothing_has(client: Client, height: str) -> None:
    assert client.get(f"/timeline/{height}/cut").status == 404


def test_hostile_texts_are_escaped(shown: Client, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\u202e\n"
    folder = write_run(tmp_path / "run<b>&")
    events = [
        Event(1_000_000, kind, 2**63 - 1_000_001, 2**62, 2**62, evil, evil)
        for kind in ("voted", "crashed")
    ]
    told = replace(
        TIMELINE,
        events=(*events, Event(1_000_001, "cut", what=evil)),
        left_out={evil: 3},
        block=evil,
    )
    write_timelines(folder, [replace(told, height=1)])
    for path in ("/network/run%3Cb%3E&?height=1", "/timeline/1/run%3Cb%3E&"):
        page = shown.get(path)
        assert page.status == 200
        for raw in ("<script>alert", "run<b>", "\u202e"):
            assert raw not in page.text
    assert "&lt;script&gt;alert(1)" in page.text


@pytest.mark.parametrize("content", ["", "{}", "\x00", "[" * 10_000, '{"height":1,}\n'])
def test_a_broken_file_is_one_line(shown: Client, tmp_path: Path, content: str) -> None:
    folder = write_run(tmp_path / "run")
    (folder / FILE).write_text(f"{content}\n")
    page = shown.get("/network/run?height=1")
    assert page.status == 200
    assert FILE in page.text
    assert shown.get("/timeline/1/run").status in (404, 422)


def test_a_broken_config_is_one_line(shown: Client, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    write_timelines(folder, timelines(1))
    (folder / "config.yaml").write_text("servers: {count: many}\n")
    page = shown.get("/network/run")
    assert page.status == 422
    assert "config.yaml" in page.text
    assert shown.get("/timeline/1/run").status == 200  # it says enough without its network
    (folder / FILE).unlink()
    (folder / FILE).symlink_to("/etc/passwd")
    assert shown.get("/timeline/1/run").status == 422


def test_what_has_no_servers_says_so(shown: Client, tmp_path: Path) -> None:
    manifest = write_run(tmp_path / "run") / "manifest.json"
    assert shown.get("/network/run").status == 200
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), LEDGER: NO_LEDGER}))
    page = shown.get("/network/run")
    assert page.status == 422
    assert "there were no servers" in page.text


def test_a_behaviour_is_told_with_its_heights() -> None:
    assert since(Malice("silent")) == "silent"
    assert since(Malice("silent", 3)) == "silent, from height 3"
    assert since(Malice("silent", 1, 9)) == "silent, heights 1 to 9"


def test_a_thousand_servers_are_quick_enough(shown: Client, tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "run", "servers.count=1000", "servers.regions=5", "servers.malicious=silent:0.2"
    )
    events = tuple(
        Event(1_000_000 + each, kind, each, 0, 0, "soft", "bafy")
        for kind in ("received", "voted", "appended")
        for each in range(256)
    )
    write_timelines(
        folder, [replace(TIMELINE, height=1, events=events, down=Named.of(range(1000)))]
    )
    assert shown.get("/network/run").status == 200  # lays it out
    for path, drawn in (("/network/run?height=1", "transform="), ("/timeline/1/run", "<use ")):
        spent = []
        for _ in range(3):
            began = time.process_time()  # the server is in this process
            page = shown.get(path)
            spent.append(time.process_time() - began)
        assert page.text.count(drawn) > 768
        assert len(page.body) < 2**20
        assert min(spent) <= 0.5, f"{path}: {spent}"
