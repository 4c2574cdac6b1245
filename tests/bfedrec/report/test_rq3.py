"""The figures on Byzantine fault tolerance: from recorded runs alone, with their data as CSV."""

from __future__ import annotations

import csv
import random
import shlex
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from bfedrec.cli.main import main
from bfedrec.config.load import load
from bfedrec.report import rq3
from bfedrec.report.artefact import Runs
from bfedrec.report.committee_theory import expected
from bfedrec.report.figures import committees as rq3_committees
from bfedrec.report.figures import cost as rq3_cost
from bfedrec.report.figures import fig3 as rq3_learning
from bfedrec.report.figures import recovery as rq3_recovery
from bfedrec.report.figures import third as rq3_third
from bfedrec.report.registry import figures
from bfedrec.sweeps.recorded import Recorded
from consensus.faults.faults import fault_from_node
from tests.bfedrec.sweeps.test_recorded import TINY
from tests.conftest import ROOT
from tests.helpers.commands import fork_runs

COUNTS = {
    "attempts": 0,
    "rebuilt_committees": 0,
    "captured_blocks": 0,
    "committees": 0,
    "blocked_committees": 0,
    "captured_committees": 0,
    "gossip_bytes": 0,
    "simulated_seconds": 0.0,
}


def recorded(overrides: list[str], malicious: int = 0, **summary: Any) -> Recorded:
    """A run of six servers that came to this, by hand."""
    config = load(None, ["servers.count=6", "committee.size=4", "rounds=10", *overrides])
    end = {**COUNTS, "rounds": 10, "blocks": 10, "malicious_stake_share": malicious / 6, **summary}
    metrics = end.pop("metrics", ())
    return Recorded(Path("by-hand"), config, end, tuple(metrics))


def runs(*found: Recorded) -> Runs:
    return Runs(("by=hand",), dict(enumerate(found)))


STOP = {
    "stopped": "stalled",
    "rounds": 3,
    "blocks": 3,
    "stopped_at_height": 4,
    "stopped_attempts": 31,
    "stopped_because": "height 4: after 9 seconds (attempt 30): a deadlock",
}


def lines(*values: tuple[int, float, float]) -> list[dict[str, Any]]:
    return [
        {
            "height": height,
            "hr@10": hr,
            "ndcg@10": ndcg,
            "attempts": 2 * height,
            "rebuilt_committees": height,
            "simulated_seconds": 1.5 * height,
            "gossip_bytes": 2**20 * height,
        }
        for height, hr, ndcg in values
    ]


def texts(figure: Figure) -> str:
    axes = figure.axes
    return "\n".join(
        [text.get_text() for one in axes for text in one.texts]
        + [one.get_title(loc="left") for one in axes]
        + [label.get_text() for one in axes for label in one.get_yticklabels()]
    )


# --- the command ---------------------------------------------------------------------------------


def test_the_command_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figure"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == list(figures())
    assert main(["figure", "fig4"]) == 2
    assert "'fig4': not one of fig2, fig3, " in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name, one in figures().items() if one.experiments()])
def test_every_experiment_can_be_planned(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["figure", name, "--from", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert "runs are not recorded in" in told[0]
    commands = [line.strip() for line in told[told.index("They are made and recorded by:") + 1 :]]
    *commands, at_once = commands
    assert commands == [one.command(tmp_path) for one in figures()[name].experiments()]
    assert at_once == f"All at once, resumable: bfedrec make {name} --record {tmp_path}"
    assert (tmp_path / "out").exists() == (name == "fig2")  # whose minutes can be counted


def test_the_command_that_is_told_makes_the_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From nothing: the missing runs are named, made by the command given, and drawn."""
    fork_runs(monkeypatch)
    monkeypatch.chdir(ROOT)
    (tmp_path / "tiny.yaml").write_text(TINY)
    words = ["figure", "fig3", f"@{tmp_path / 'tiny.yaml'}", "--from", str(tmp_path / "reference")]
    words += ["--out", str(tmp_path / "figures")]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "4 of 4 runs are not recorded" in told
    assert "protocol=paper servers.malicious=1/3 seed=0" in told
    command = shlex.split(told.splitlines()[-2])
    assert command[0] == "bfedrec"
    assert main([*command[1:], "--out", str(tmp_path / "runs")]) == 0
    assert main(words) == 0
    out = capsys.readouterr().out.splitlines()[-3:]
    assert [Path(path).suffix for path in out] == [".pdf", ".png", ".csv"]
    assert Path(out[0]).read_bytes().startswith(b"%PDF")
    assert Path(out[1]).read_bytes().startswith(b"\x89PNG")
    with Path(out[2]).open() as file:
        data = list(csv.DictReader(file))
    assert {(row["protocol"], row["malicious"]) for row in data} == {
        ("bft", "0"), ("bft", "2"), ("paper", "0"), ("paper", "2"),
    }  # fmt: skip
    assert [row["round"] for row in data if row["what"] == "test"] == ["12"] * 3
    (stop,) = (row for row in data if row["what"] == "stalled")
    assert "deadlock of Algorithm 2" in stop["because"]
    before = [Path(path).read_bytes() for path in out]
    assert main(words) == 0
    assert [Path(path).read_bytes() for path in out] == before


# --- Fig. 3 --------------------------------------------------------------------------------------


def fig3_data() -> list[dict[str, Any]]:
    curve = lines((4, 0.2, 0.1), (8, 0.4, 0.2), (10, 0.5, 0.3))
    end = {"hr@10": 0.45, "ndcg@10": 0.25}
    honest = recorded([], metrics=curve, **end)
    attacked = recorded([], 2, metrics=curve, **{**end, "hr@10": 0.44})
    paper = recorded(["protocol=paper"], metrics=curve, **end)
    stopped = recorded(["protocol=paper"], 2, metrics=lines((3, 0.15, 0.05)), **end, **STOP)
    return rq3_learning.rows([runs(honest), runs(attacked), runs(paper), runs(stopped)])


def test_fig3_draws_what_its_csv_holds() -> None:
    data = fig3_data()
    figure = rq3_learning.draw(data)
    for axes, protocol, name in zip(
        figure.axes, ("bft", "bft", "paper", "paper"), ("hr", "ndcg") * 2, strict=True
    ):
        for line, malicious in zip(axes.lines, (0, 2), strict=False):
            rows = [
                row
                for row in data
                if (row["protocol"], row["malicious"], row["what"])
                == (protocol, malicious, "validation")
            ]
            assert list(line.get_xdata()) == [row["round"] for row in rows]
            assert list(line.get_ydata()) == [row[name] for row in rows]


def test_fig3_says_what_was_found_and_why_a_run_stopped() -> None:
    shown = texts(rq3_learning.draw(fig3_data()))
    assert "bft: malicious servers change HR@10 on test items by -0.0100 to 0.4400" in shown
    assert "stalled at height 4 before malicious servers" in shown
    assert "2 of 6 malicious: stalled at height 4: a\ndeadlock" in shown or "a deadlock" in shown


def test_fig3_has_intervals_where_there_are_several_seeds() -> None:
    several = [
        recorded([f"seed={seed}"], metrics=lines((5, hr, hr / 2)), **{"hr@10": hr, "ndcg@10": hr})
        for seed, hr in enumerate((0.4, 0.5, 0.6))
    ]
    row, test = rq3_learning.rows([runs(*several)])
    assert row["seeds"] == 3
    assert row["hr"] == pytest.approx(0.5)
    assert row["hr_high"] - row["hr"] == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert test["what"] == "test"
    rq3_learning.draw([row, test])


# --- costs and committees ------------------------------------------------------------------------


def test_costs_are_per_block_and_frequencies_exact() -> None:
    counts = {"committees": 23, "blocked_committees": 13, "captured_committees": 0}
    bft = recorded([], 2, metrics=lines((5, 0.1, 0.1), (10, 0.2, 0.1)), **counts)
    paper = recorded(["protocol=paper"], 2, metrics=lines((3, 0.1, 0.1)), **STOP)
    data = rq3_cost.rows([runs(bft), runs(paper)], [runs(recorded([], 2, **counts))])
    cost = {(row["protocol"], row["measure"]): row for row in data if row["experiment"] == "run"}
    assert cost["bft", "attempts per block"]["value"] == 2.0
    assert cost["bft", "simulated seconds per block"]["value"] == 1.5
    assert cost["bft", "MiB between servers per block"]["value"] == 1.0
    assert cost["bft", "attempts per block"]["expected"] == expected(6, 2, 4, 3).attempts
    stopped = cost["paper", "attempts per block"]
    assert (stopped["value"], stopped["low"], stopped["stopped_at_height"]) == (2.0, None, 4)
    blocked = [row for row in data if row["measure"] == "blocked committees"]
    assert [row["n"] for row in blocked] == [23, 23]  # the paper's names its own, and is left out
    assert blocked[0]["value"] == 13 / 23
    assert blocked[0]["expected"] == pytest.approx(0.4)
    assert blocked[0]["low"] < 0.4 < blocked[0]["high"]
    shown = texts(rq3_cost.draw(data))
    assert "until it stopped at height 4" in shown
    assert "blocked committees: theory within 2 of 2 intervals" in shown


def test_the_heat_map_counts_vain_attempts_and_shows_where_it_gave_up() -> None:
    cells = [
        runs(recorded(["committee.size=4"], 0, attempts=10)),
        runs(recorded(["committee.size=6"], 0, attempts=10)),
        runs(recorded(["committee.size=4"], 2, attempts=19, captured_blocks=1)),
        runs(recorded(["committee.size=6"], 2, **{**STOP, "blocks": 0, "rounds": 0})),
    ]
    data = rq3_committees.rows(cells)
    assert [row["attempts"] for row in data] == [10, 10, 19, 31]
    assert data[2]["attempts_per_block"] == 1.9
    assert data[2]["attempts_low"] < 1.9 < data[2]["attempts_high"]
    assert data[2]["captured_share"] == 0.1
    assert data[3]["attempts_per_block"] is data[3]["attempts_expected"] is None
    figure = rq3_committees.draw(data)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown == ["1.0", "1.0", "1.9", "x 0"]
    assert figure.axes[1].texts[-1].get_text() == "never"
    image = figure.axes[0].images[0].get_array()
    assert image is not None
    assert image[1, 0] == 1.9  # malicious 2, committee 4
    assert image.mask[1, 1] or image[1, 1] != image[1, 1]


def test_theory_is_what_draws_come_to() -> None:
    """Attempts simulated from their definition: a committee and three aggregators, drawn anew."""
    rng = random.Random(0)
    for servers, malicious, size in ((30, 10, 20), (30, 12, 10), (30, 15, 4)):
        theory = expected(servers, malicious, size, 3)
        attempts = blocks = captured = 0
        while blocks < 4000:
            attempts += 1
            bad = sum(server < malicious for server in rng.sample(range(servers), size))
            leaders = [server < malicious for server in rng.sample(range(servers), 3)]
            if 3 * (size - bad) > 2 * size and not all(leaders):
                blocks += 1
            elif 3 * bad > 2 * size and any(leaders):
                blocks += 1
                captured += 1
        assert attempts / blocks == pytest.approx(theory.attempts, rel=0.05)
        assert captured / blocks == pytest.approx(theory.captured_blocks, abs=0.02)


def test_theory_at_the_ends() -> None:
    assert expected(30, 0, 20, 3).attempts == 1.0
    assert expected(30, 10, 20, 3).blocked == pytest.approx(0.560, abs=5e-4)  # protocol.md's table
    assert expected(30, 10, 30, 3).attempts == float("inf")  # 20 are not more than two thirds
    assert expected(30, 10, 30, 3).captured_blocks == 0.0
    assert expected(30, 9, 30, 3).attempts < 1.03


# --- a third, and recovery -----------------------------------------------------------------------


def test_the_figure_of_a_third_says_where_it_stalls() -> None:
    settings = []
    for size in (4, 6):
        for malicious in (0, 1, 2):
            many = [
                recorded(
                    [f"committee.size={size}"],
                    malicious,
                    attempts=10 + malicious + seed,
                    simulated_seconds=20.0 + seed,
                    **(STOP if (size, malicious) == (6, 2) else {}),
                )
                for seed in range(3)
            ]
            settings.append(runs(*many))
    data = rq3_third.rows(settings)
    assert data[1]["attempts"] == pytest.approx(1.2)
    assert data[1]["seconds"] == pytest.approx(2.1)
    assert data[1]["seconds_low"] < 2.1 < data[1]["seconds_high"]
    stalled = data[5]
    assert (stalled["stalled"], stalled["seconds"], stalled["blocks_before_stall"]) == (3, None, 3)
    words = rq3_third.finding(data)
    assert words == "committees of 4 never stall; a committee of all servers stalls from 2 on"
    figure = rq3_third.draw(data)
    curve = next(line for line in figure.axes[0].lines if line.get_label() == "committee of 4")
    assert list(curve.get_ydata()) == [row["seconds"] for row in data[:3]]


def test_recovery_is_ordered_and_says_what_never_recovers() -> None:
    def healed(fault: str, *seconds: tuple[float, float]) -> Runs:
        return runs(
            *(
                recorded(
                    [f"faults=[{fault}]"],
                    blocks_while_faulty=2,
                    **({"seconds_to_next_block": a, "seconds_until_level": b} if b else {}),
                )
                for a, b in seconds
            )
        )

    settings = [
        healed("{crash: 1/3, from: 10, until: 40}", (8.0, 9.0), (10.0, 13.0)),
        healed("{skew: 0, from: 10, until: 40}", (0.5, 1.0), (0.5, 1.0)),
    ]
    data = rq3_recovery.rows(settings)
    assert [row["fault"] for row in data] == ["no fault", "crash of a third"]
    assert (data[1]["next_block"], data[1]["level"]) == (9.0, 11.0)
    assert (data[1]["level_least"], data[1]["level_most"]) == (9.0, 13.0)
    assert "level again within 11 s on average" in texts(rq3_recovery.draw(data))
    never = healed("{partition: 1/2, from: 10, until: 40}", (0.0, 0.0))
    data = rq3_recovery.rows([*settings, never])
    assert data[-1]["level"] is None
    shown = texts(rq3_recovery.draw(data))
    assert "1 of 3 did not recover" in shown
    assert "never: all servers level" in shown


@pytest.mark.parametrize("path", sorted((ROOT / "experiments" / "faults").glob("*.yaml")))
def test_every_fault_has_words_and_the_same_time(path: Path) -> None:
    config = load(ROOT / "experiments" / "recovery.yaml", [f"@{path}"])
    for fault in map(fault_from_node, config.faults):
        assert (fault.from_, fault.until) == (10.0, 40.0)
        assert "groups" not in rq3_recovery.described(fault)


def test_experiments_name_the_sweeps_that_their_configs_name() -> None:
    """The command at the top of a config is the one that the figure asks for."""
    for experiment in (rq3.FIG3, rq3.COMMITTEES, rq3.THIRD, rq3.RECOVERY):
        text = (ROOT / experiment.config).read_text().replace(" \\\n#    ", "")
        words = experiment.command(Path("results/reference")).replace("'", "")
        told = next(line for line in text.splitlines() if "bfedrec sweep" in line)
        assert set(words.split()) <= set(told.split()), experiment.config
