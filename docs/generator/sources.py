"""The pages of the site that are files of the repository, and the links between them.

A page keeps the relative links that work where it lies in the repository. In the site, a link to
another page leads to that page, and one to any other file to a copy of it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from posixpath import normpath, relpath
from urllib.parse import unquote

from PIL import Image

from docs.generator.blocks import code_lines, fenced
from docs.generator.svg import inline

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""
FILES = "files"
"""Folder of the site's sources with copies of the files that pages link to and show."""
OUTSIDE = {
    "README.md": "index",
    "consensus/README.md": "design/ledger",
    "consensus/PROTOCOL.md": "design/protocol",
    "consensus/protocols/hotstuff/README.md": "design/hotstuff",
    "consensus/protocols/tendermint/README.md": "design/tendermint",
    "datasets/README.md": "datasets",
    "docs/docker/README.md": "docker",
    "experiments/README.md": "experiments",
    "results/README.md": "recorded",
    "tests/vectors/README.md": "vectors",
}
"""The pages that do not stand in docs/ under their own name: file in the repository, page in the
site. Of the README there is no page: what links to it leads to the first page."""
TABLES = "results/tables"
"""Folder of the recorded tables, each of which is a page."""
TABLES_HEAD = """# Recorded tables

Made of the runs in results/reference by `bfedrec table NAME`; their CSV and LaTeX stand beside them
in the repository.
"""
LINK = re.compile(r"(?<!\\)\]\(([^()\s]+)\)")
"""The target of an inline link or image."""
PICTURE = re.compile(r"^!\[[^\]]*\]\(([^()\s]+\.svg)\)$")
"""A line that is a picture of ours, and nothing else."""
NAMED = re.compile(r"(?<![`\[])`([\w./-]+\.md)`(?![`\]])")
"""A page that a text names, as code and without a link."""
WRITTEN = "reference/"
"""The pages that are written from the code; only the first page, which is none of the repository's
own, may link to them: elsewhere such a link would be dead in the repository."""
FIRST = "docs/index.md"
COLOURS = 128
"""Colours that a screenshot or a drawn figure has left in the site, where that makes it
smaller."""


class BadLink(ValueError):
    """A link that leads nowhere; the message names the file and the target."""


def pages(root: Path = ROOT) -> dict[str, str]:
    """Every file of the repository that is a page, with the page's name in the site."""
    found = {
        path.relative_to(root).as_posix(): path.relative_to(root / "docs")
        .with_suffix("")
        .as_posix()
        for path in sorted((root / "docs").rglob("*"))
        if path.suffix in (".md", ".ipynb") and ".ipynb_checkpoints" not in path.parts
    }
    tables = {
        path.relative_to(root).as_posix(): f"tables/{path.stem}"
        for path in sorted((root / TABLES).glob("*.md"))
    }
    outside = {name: page for name, page in OUTSIDE.items() if (root / name).is_file()}
    return found | tables | outside


def prose(text: str) -> Iterator[tuple[bool, str]]:
    """The lines of a Markdown text, and for each if it is no code."""
    code = code_lines(text)
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        yield number not in code, line


def targets(text: str) -> Iterator[str]:
    """The targets of the links and images of a Markdown text, in order."""
    for said, line in prose(text):
        if said:
            yield from LINK.findall(line)


def copy_lighter(path: Path, copy: Path) -> None:
    """Copy a file; a picture of points with fewer colours, if that is smaller."""
    shutil.copyfile(path, copy)
    if path.suffix == ".png":
        with Image.open(path) as image:
            opaque = Image.new("RGB", image.size, "white")
            opaque.paste(image, mask=image.getchannel("A") if "A" in image.getbands() else None)
        packed = BytesIO()
        opaque.quantize(COLOURS, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if len(packed.getvalue()) < path.stat().st_size:
            copy.write_bytes(packed.getvalue())


@dataclass
class Gathered:
    """The site's sources while they are gathered in a folder."""

    out: Path
    root: Path = ROOT
    pages: dict[str, str] = field(default_factory=dict)
    """The pages by their file in the repository."""

    def __post_init__(self) -> None:
        self.pages = self.pages or pages(self.root)

    def gather(self) -> None:
        """Copy every page, its links turned into those of the site. Raises BadLink."""
        for name, page in self.pages.items():
            if name == "README.md":
                continue
            path = self.root / name
            text = path.read_text(encoding="utf-8")
            target = self.out / f"{page}{path.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".ipynb":
                text = self._notebook(text, name, page)
            else:
                text = self.turned(text, name, page)
            if name.startswith(TABLES):
                text = f"# {path.stem}\n\n`bfedrec table {path.stem}`\n\n{text}"
            target.write_text(text, encoding="utf-8")
        (self.out / "tables.md").write_text(self._tables(), encoding="utf-8")

    def turned(self, text: str, name: str, page: str) -> str:
        """A Markdown text of the file ``name`` with the links of the page ``page``."""

        def turn(found: re.Match[str]) -> str:
            return f"]({self.target(found[1], name, page)})"

        def link(found: re.Match[str]) -> str:
            if self.pages.get(found[1], page) == page:
                return found[0]
            here = Path(page).parent.as_posix()
            return f"[{found[0]}]({relpath(f'{self.pages[found[1]]}.md', here)})"

        lines = []
        for said, line in prose(fenced(text)):
            shown = PICTURE.match(line.strip()) if said else None
            if shown:
                path = normpath(f"{Path(name).parent.as_posix()}/{shown[1]}")
                lines.append(f"{inline((self.root / path).read_text(encoding='utf-8'))}\n")
            else:
                lines.append(NAMED.sub(link, LINK.sub(turn, line)) if said else line)
        return "".join(lines)

    def target(self, link: str, name: str, page: str) -> str:
        """The target in the site of a link in the file ``name``. Raises BadLink."""
        if re.match(r"[a-z]+:", link) or link.startswith("#"):
            return link
        if name == FIRST and link.startswith(WRITTEN):
            return link
        place, mark, anchor = link.partition("#")
        file = normpath(f"{Path(name).parent.as_posix()}/{unquote(place)}")
        if (self.root / file / "README.md").is_file():
            file = f"{file}/README.md"
        here = Path(page).parent.as_posix()
        if file in self.pages:
            suffix = Path(file).suffix
            return f"{relpath(f'{self.pages[file]}{suffix}', here)}{mark}{anchor}"
        if file.startswith("..") or not (self.root / file).is_file():
            raise BadLink(
                f"{name}: {link}: no file of the repository, or a folder without README.md"
            )
        copy = self.out / FILES / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy_lighter(self.root / file, copy)
        return f"{relpath(f'{FILES}/{file}', here)}{mark}{anchor}"

    def _tables(self) -> str:
        """The page that lists the recorded tables."""
        listed = "\n".join(page for name, page in self.pages.items() if name.startswith(TABLES))
        return f"{TABLES_HEAD}\n```{{toctree}}\n{listed}\n```\n"

    def _notebook(self, text: str, name: str, page: str) -> str:
        """A notebook with the links of its Markdown turned."""
        notebook = json.loads(text)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = self.turned("".join(cell["source"]), name, page)
        return json.dumps(notebook)
