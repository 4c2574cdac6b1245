"""Measured round-trip times: what is read, what is refused, and the graph that is laid out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.network import round_trips as module
from consensus.network.round_trips import RoundTripError, RoundTrips, shipped
from consensus.network.topology import Topology

TEXT = "# measured by hand\nregion, A ,B\n\nA,2,10\nB,14,\n"


def test_a_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    read = RoundTrips.read(str(path))
    assert read.regions == ("A", "B")
    assert read.milliseconds == ((2.0, 10.0), (14.0, None))


def test_seconds_are_half_the_mean_of_both_directions() -> None:
    read = RoundTrips.parse(TEXT, "x")
    assert read.seconds([0, 1], within_ms=5.0).tolist() == [[0.001, 0.006], [0.006, 0.005]]
    assert read.seconds([1], within_ms=5.0).tolist() == [[0.005]]


def test_the_shipped_matrix_is_the_published_one() -> None:
    assert shipped() == ["ibm-cloud-2024"]
    read = RoundTrips.read("ibm-cloud-2024")
    assert len(read.regions) == 10
    one, other = read.regions.index("Frankfurt"), read.regions.index("Osaka")
    assert (read.milliseconds[one][other], read.milliseconds[other][one]) == (242.0, 245.0)
    assert read.milliseconds[one][one] == 0.83
    assert all(0 < float(ms or 0) < 330 for row in read.milliseconds for ms in row)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "x: expected a header region,NAME,...; the file is empty"),
        ("# only this\n", "x: expected a header region,NAME,...; the file is empty"),
        ("A,B\n", "x, line 1: expected a header region,NAME,..., got 'A'"),
        ("region\n", "x, line 1: expected a header region,NAME,..., got 'region'"),
        ("region,A,B\nA,1,2\n", "x: expected 2 rows, one per region, got 1"),
        ("region,A\nB,1\n", "x, line 2: expected the row of 'A', in the header's order, got 'B'"),
        ("region,A\n\nA,1,2\n", "x, line 3: expected 2 cells, got 3"),
        ("region,A,B\nA,1,2\nB,1\n", "x, line 3: expected 3 cells, got 2"),
        ("region,A\nA,fast\n", "x, line 2, column 2: expected milliseconds, got 'fast'"),
        ("region,A\nA,1_0\n", "x, line 2, column 2: expected milliseconds, got '1_0'"),
        ("region,A,B\nA,1,\nB,1,1\n", "x: from 'A' to 'B': expected milliseconds above 0 and at"),
        ("region,A\nA,0\n", "x: from 'A' to 'A': expected milliseconds above 0 and at most 1e+09"),
        ("region,A\nA,nan\n", "got nan"),
        ("region,A\nA,1e10\n", "got 10000000000.0"),
        ("region,A,A\nA,1,1\nA,1,1\n", "x: region 'A' stands twice"),
        ("region,\n,1\n", "x: not a region's name: ''"),
        (f"region,{'a' * 65}\n{'a' * 65},1\n", "x: not a region's name: 'aaa"),
        ('region,"A\n', "x, line 1: "),
        ("region,A\x1b\nA\x1b,1\n", "x: not a region's name: 'A\\x1b'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(RoundTripError) as caught:
        RoundTrips.parse(text, "x")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RoundTripError, match="one of ibm-cloud-2024; 'ibm': No such file"):
        RoundTrips.read("ibm")
    with pytest.raises(RoundTripError, match="null"):
        RoundTrips.read("a\0b")
    (tmp_path / "latin").write_bytes(b"region,\xe9\n")
    with pytest.raises(RoundTripError, match="not UTF-8 at byte 7"):
        RoundTrips.read(str(tmp_path / "latin"))
    monkeypatch.setattr(module, "MOST_BYTES", 20)
    (tmp_path / "long").write_text("region,A\nA,1\n#" + "x" * 20)
    with pytest.raises(RoundTripError, match="longer than 20 bytes"):
        RoundTrips.read(str(tmp_path / "long"))
    monkeypatch.setattr(module, "MOST_REGIONS", 1)
    with pytest.raises(RoundTripError, match="expected 1 to 1 regions, got 2"):
        RoundTrips.parse(TEXT, "x")


@given(st.text(st.sampled_from('region,AB12.\n"#-e \x00'), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = RoundTrips.parse(text, "x")
    except RoundTripError:
        return
    assert (read.seconds(range(len(read.regions)), 1.0) > 0).all()


def test_links_go_to_the_nearest_and_latencies_are_those_of_the_regions() -> None:
    seconds = np.array([[0.001, 0.050, 0.200], [0.050, 0.002, 0.100], [0.200, 0.100, 0.003]])
    placement = np.array([0, 1, 2, 0, 1, 2])
    graph = Topology.measured(placement, seconds, links_per_server=1)
    assert graph.latency[0].tolist() == [0.0, 0.050, 0.200, 0.001, 0.050, 0.200]
    assert graph.latency[5, 2] == 0.003
    assert (graph.latency == graph.latency.T).all()
    assert {frozenset((a, b)) for a in range(6) for b in graph.neighbours[a]} == {
        frozenset(pair) for pair in [(0, 3), (1, 4), (2, 5), (0, 1), (1, 2)]
    }
    assert graph.regions.tolist() == placement.tolist()
