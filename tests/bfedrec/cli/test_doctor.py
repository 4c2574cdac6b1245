"""The doctor: what it finds, what fails it, and the costs it measures."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfedrec.cli import doctor
from bfedrec.cli.doctor import MIB, Costs, Sample, measure, profile
from bfedrec.cli.main import main
from bfedrec.config.load import load
from consensus.storage.ipfs import IpfsStore
from tests.helpers.ipfs_node import IpfsNode

NOWHERE = "/ip4/127.0.0.1/tcp/1"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer and smaller files, for the tests that only look at what is printed."""
    monkeypatch.setattr(doctor, "SIZES", ((1_000, 2), (300_000, 2)))


def test_a_machine_without_a_node_is_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("IPFS_API", raising=False)
    monkeypatch.setattr(doctor, "DEFAULT_API", NOWHERE)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    subjects = [line.split()[1] for line in lines]
    assert set(subjects) == {
        "python", "libraries", "plugins", "machine", "gpu", "data", "cache", "runs", "ipfs"
    }  # fmt: skip
    assert lines[-1].split() == [
        "none", "ipfs", f"{NOWHERE}:", *["the", "IPFS", "node", "is", "not", "running", "there"],
        "(connection", "refused)",
    ]  # fmt: skip
    for library in ("numpy", "pynacl", "libipld"):
        assert f"{library} " in next(line for line in lines if "libraries" in line)
    assert f" torch {metadata.version('torch')}" in next(line for line in lines if "gpu" in line)


def test_a_node_that_was_asked_for_must_be_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "DEFAULT_API", NOWHERE)
    monkeypatch.delenv("IPFS_API", raising=False)
    assert main(["doctor", "--save", str(tmp_path / "costs.yaml")]) == 1
    monkeypatch.setenv("IPFS_API", NOWHERE)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.count("FAIL  ipfs") == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "DEFAULT_API", NOWHERE)
    monkeypatch.delenv("IPFS_API", raising=False)
    monkeypatch.setenv("BFEDREC_DATA", str(tmp_path / "nowhere"))
    wanted = ["numpy>=1.26", "no-such-library>=2", "torch==0.1", "other; extra == 'test'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: wanted)
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    failures = [line for line in lines if line.startswith("FAIL")]
    assert len(failures) == 2
    assert "no-such-library>=2 (not installed), torch==0.1 (2." in failures[0]
    assert "no such folder" in failures[1]


def test_measured_costs_are_saved_and_charged(
    small: None,
    ipfs_node: IpfsNode,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "costs.yaml"
    monkeypatch.setenv("IPFS_API", ipfs_node.api)
    with IpfsStore(ipfs_node.api) as node:
        before = node.pins()
        assert main(["doctor", "--save", str(path)]) == 0
        assert node.pins() == before
    printed = capsys.readouterr().out
    assert f"{ipfs_node.api}: version" in printed
    assert "1,000 bytes: add" in printed
    assert f"bfedrec run CONFIG @{path}" in printed
    costs, usual = load(None, [f"@{path}"]).costs, load(None).costs
    assert costs != usual
    assert costs.sign == usual.sign
    assert 0.0 < costs.store_put < 5.0
    assert 0.0 < costs.store_get < 5.0


def test_the_sizes_are_those_of_the_promise() -> None:
    assert [size for size, _ in doctor.SIZES] == [15_000, 1_000_000, 16_000_000]
    assert all(repeats >= 5 and repeats % 2 for _, repeats in doctor.SIZES)


def test_a_sample_is_of_real_requests(ipfs_node: IpfsNode) -> None:
    with IpfsStore(ipfs_node.api) as node:
        sample = measure(node, 16_000, 3)
    assert (sample.size, sample.repeats) == (16_000, 3)
    assert 0.0 < sample.add < 10.0
    assert 0.0 < sample.cat < 10.0


@given(st.floats(0.0, 2.0), st.floats(1e-4, 2.0))
def test_costs_that_lie_on_a_line_are_found(fixed: float, per_mib: float) -> None:
    sizes = [15_000, 1_000_000, 16_000_000]
    costs = Costs.fit([(size, fixed + per_mib * size / MIB) for size in sizes])
    assert costs.fixed == pytest.approx(fixed, rel=1e-6, abs=1e-6)
    assert costs.per_mib == pytest.approx(per_mib, rel=1e-6, abs=1e-6)


@given(st.lists(st.floats(1e-4, 10.0), min_size=3, max_size=3))
def test_no_cost_is_below_zero_and_all_sizes_count(seconds: list[float]) -> None:
    sizes = [15_000, 1_000_000, 16_000_000]
    costs = Costs.fit(list(zip(sizes, seconds, strict=True)))
    assert costs.fixed >= 0.0
    assert costs.per_mib >= 0.0

    def error(fixed: float, per_mib: float) -> float:
        return sum(
            ((fixed + per_mib * size / MIB) / found - 1) ** 2
            for size, found in zip(sizes, seconds, strict=True)
        )

    best = error(costs.fixed, costs.per_mib)
    for factor in (0.99, 1.01):
        assert best <= error(costs.fixed * factor, costs.per_mib) + 1e-9
        assert best <= error(costs.fixed, costs.per_mib * factor) + 1e-9


def test_a_profile_is_a_config_of_its_own(tmp_path: Path) -> None:
    samples = [Sample(MIB, 3, 0.3, 0.2), Sample(2 * MIB, 3, 0.5, 0.3), Sample(4 * MIB, 3, 0.9, 0.5)]
    path = tmp_path / "costs.yaml"
    path.write_text(profile("/ip4/127.0.0.1/tcp/5001: version 0.30.0", samples))
    costs = load(path).costs
    assert costs.store_put == pytest.approx(0.1, abs=1e-6)
    assert costs.store_put_per_mib == pytest.approx(0.2, abs=1e-6)
    assert costs.store_get == pytest.approx(0.1, abs=1e-6)
    assert costs.store_get_per_mib == pytest.approx(0.1, abs=1e-6)
