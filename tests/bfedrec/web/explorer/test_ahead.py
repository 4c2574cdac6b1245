"""Work that is done before a visitor waits for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from starlette.responses import Response

from bfedrec.runs.folder import RunError
from bfedrec.web.assets import assets
from bfedrec.web.explorer import app
from bfedrec.web.explorer.ahead import follow, prepare
from bfedrec.web.explorer.app import application
from bfedrec.web.explorer.serving import explorer_of
from bfedrec.web.explorer.visits import Visit
from bfedrec.web.pages import templates
from tests.helpers import shown
from tests.helpers.audited import RESULTS, TOY, Keeper
from tests.helpers.web import Client, serving


def with_chain(folder: Path) -> Path:
    """A run's folder with the chain of another run."""
    shown.write_run(folder)
    Keeper(folder / "chain.sqlite", TOY.genesis).write_all(RESULTS)
    return folder


def test_a_server_gets_ready_before_it_is_asked(tmp_path: Path) -> None:
    templates.cache_clear()
    explorer = explorer_of(with_chain(tmp_path / "one"))
    prepare(explorer).join()
    known = templates()
    assert known.cache is not None
    loaded = {name for _, name in known.cache}
    assert "explorer/block.html" in loaded
    assert not any(name.startswith("portal") for name in loaded)
    assert all("packed" in vars(each) for each in assets().values())
    chain = explorer.chains.of(tmp_path / "one")
    assert chain._ahead is not None
    chain._ahead.join()
    assert len(chain._followed) == len(RESULTS)


def test_the_chains_of_the_newest_runs_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for age, name in enumerate(("old", "new", "newer")):
        with_chain(root / name)
        for file in (root / name).iterdir():
            os.utime(file, (1e9 + age, 1e9 + age))
    shown.write_run(root / "newest without a chain")
    explorer = explorer_of(root)
    prepare(explorer).join()
    assert set(explorer.chains._kept) == {root / name / "chain.sqlite" for name in ("new", "newer")}


def test_the_page_of_a_run_has_its_chain_followed(tmp_path: Path) -> None:
    explorer = explorer_of(with_chain(tmp_path / "runs" / "one").parent)
    with serving(application(explorer)) as port:
        assert Client(port).get("/").status == 200
        assert explorer.chains._kept == {}
        assert Client(port).get("/run/one").status == 200
        assert list(explorer.chains._kept) == [tmp_path / "runs" / "one" / "chain.sqlite"]


def test_a_run_without_a_chain_or_with_a_link_is_left_alone(tmp_path: Path) -> None:
    explorer = explorer_of(tmp_path)
    assert not follow(explorer, shown.write_run(tmp_path / "none"))
    linked = shown.write_run(tmp_path / "linked")
    (linked / "chain.sqlite").symlink_to(with_chain(tmp_path / "one") / "chain.sqlite")
    assert not follow(explorer, linked)
    assert explorer.chains._kept == {}


def test_visitors_come_before_what_is_prepared(tmp_path: Path) -> None:
    explorer = explorer_of(with_chain(tmp_path / "runs" / "one").parent)
    with explorer.answering():
        working = prepare(explorer)
        working.join(0.5)
        assert working.is_alive()
        assert explorer.chains._kept == {}
    working.join()
    assert list(explorer.chains._kept) == [tmp_path / "runs" / "one" / "chain.sqlite"]


def test_a_page_is_counted_until_it_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = explorer_of(tmp_path)
    seen = []

    def page(visit: Visit) -> Response:
        seen.append(explorer._answers)
        raise RunError("broken")

    monkeypatch.setattr(app, "PAGES", (app.Page("/", page),))
    with serving(app.application(explorer)) as port:
        assert Client(port).get("/").status == 422
    assert seen == [1]
    assert explorer._answers == 0
