"""One build of the site: its sources are gathered and written, then Sphinx makes the pages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from docs.generator import commands, interface, options, parts, traces
from docs.generator.sources import ROOT, Gathered

SOURCE, HTML = "source", "html"
"""Folders of a build: what Sphinx reads, and the pages."""


def write_sources(out: Path) -> None:
    """Write everything that Sphinx reads into an empty folder."""
    Gathered(out).gather()
    written = {each.PAGE: each.page() for each in (options, interface, traces)}
    for page, text in {**written, **commands.pages(), **parts.pages()}.items():
        target = out / f"{page}.md"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def build(out: Path, notebooks: str = "off", strict: bool = True) -> int:
    """Build the site in a folder; returns the exit status of Sphinx.

    ``notebooks``: "off", "cache" (execute those that changed) or "force". ``strict``: a warning is
    an error.
    """
    source = out / SOURCE
    for folder in (source, out / HTML):  # a page that is no more would stay
        shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    write_sources(source)
    words = ["-b", "html", "-c", str(ROOT / "docs"), "-q", "-d", str(out / "doctrees")]
    words += ["-W", "--keep-going"] * strict
    environment = {**os.environ, "BFEDREC_DOCS_NOTEBOOKS": notebooks, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, str(source), str(out / HTML)], env=environment
    )
    if done.returncode == 0:
        print(out / HTML / "index.html")
    return done.returncode
