"""`bfedrec serve`: from a folder to pages, and its end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bfedrec.cli.main import main
from bfedrec.config.yaml_core import ConfigError
from bfedrec.web.explorer.serving import explorer_of
from tests.helpers.web import Client


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pages_are_served_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    words = [sys.executable, "-m", "bfedrec", "serve", str(tmp_path)]
    served = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert served.stdout is not None
        url = served.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        assert Client(int(url.rpartition(":")[2])).get("/").status == 200
        served.send_signal(number)
        out, error = served.communicate(timeout=120)
    finally:
        served.kill()
    assert served.returncode == 0
    assert out == ""
    assert error == f"{tmp_path}: end with Ctrl-C\n"
    assert list(tmp_path.iterdir()) == []  # nothing was written


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{}/absent"], "there is no such folder; `bfedrec run"),
        (["{}", "--gateway", "javascript:alert(1)"], "--gateway 'javascript:alert(1)': not as"),
        (["{}", "--port", "99999999"], "--port 99999999: "),
        (["{}", "--host", "192.0.2.1"], "--host 192.0.2.1 --port 0: "),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(
    tmp_path: Path, words: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *(word.format(tmp_path) for word in words)]) == 2
    error = capfd.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_run_a_sweep_and_a_trace_are_shown_alone(tmp_path: Path) -> None:
    run, sweep, trace = tmp_path / "run", tmp_path / "sweep", tmp_path / "trace.json"
    for folder, name in ((run, "config.yaml"), (sweep, "sweep.json")):
        folder.mkdir()
        (folder / name).write_text("")
        assert explorer_of(folder).places.find(folder.name) == folder
        with pytest.raises(Exception, match="no such run"):
            explorer_of(folder).places.find("x")
    trace.write_text("{}")
    assert explorer_of(trace).trace == trace
    assert explorer_of(tmp_path).trace is None


def test_other_addresses_are_answered_under_their_names_alone(tmp_path: Path) -> None:
    assert explorer_of(tmp_path).hosts == ("127.0.0.1", "localhost", "[::1]")
    assert explorer_of(tmp_path, host="::2").hosts[-1] == "[::2]"
    assert "10.0.0.7" in explorer_of(tmp_path, host="10.0.0.7").hosts
    assert "0.0.0.0" not in explorer_of(tmp_path, host="0.0.0.0").hosts


def test_missing_packages_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bfedrec.web.explorer.state", None)
    with pytest.raises(ConfigError, match=r"pip install 'bfedrec\[web\]'"):
        explorer_of(tmp_path)


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "runs.jsonl"])
def test_a_folder_with_any_file_of_a_run_is_shown_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / name).write_text("{")
    assert explorer_of(tmp_path / "alone").places.find("alone") == tmp_path / "alone"


def test_a_machine_whose_name_nobody_knows_serves_all_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(socket, "gethostname", lambda: "Nobody")
    assert explorer_of(tmp_path, host="0.0.0.0").hosts == (
        "127.0.0.1",
        "localhost",
        "[::1]",
        "nobody",
    )


def test_a_gateway_may_end_with_a_slash(tmp_path: Path) -> None:
    assert explorer_of(tmp_path, "http://127.0.0.1:8080/").gateway == "http://127.0.0.1:8080"
