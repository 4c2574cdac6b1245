"""The site as it is built: without a warning, without a dead link, and light."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

pytest.importorskip("myst_nb", reason="needs bfedrec[docs]")

from docs.generator.build import HTML, build
from docs.generator.sources import ROOT, BadLink, Gathered, pages, targets

HEAVIEST = 200_000
"""Bytes of the heaviest picture."""


class Page(HTMLParser):
    """The links, pictures and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.unnamed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {value for value in (found.get("id"), found.get("name")) if value}
        for key in ("href", "src"):
            if found.get(key):
                self.links.append(str(found[key]))
        if tag == "img" and not found.get("alt"):
            self.unnamed.append(str(found.get("src")))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, its notebooks as they are."""
    out = tmp_path_factory.mktemp("docs")
    assert build(out, notebooks="off", strict=True) == 0
    return out / HTML


@pytest.fixture(scope="module")
def read(site: Path) -> dict[Path, Page]:
    """Every page by its path."""
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def dead(read: dict[Path, Page]) -> list[str]:
    """The links within the site that lead nowhere, each with its page."""
    found = []
    for path, page in read.items():
        for link in page.links:
            place, _, anchor = unquote(link).partition("#")
            if "://" in link or link.startswith(("mailto:", "data:")):
                continue
            target = (path.parent / place.partition("?")[0]).resolve() if place else path
            if target.is_dir():
                target /= "index.html"
            there = target.exists()
            if not there or (anchor and target in read and anchor not in read[target].anchors):
                found.append(f"{path.name}: {link}")
    return found


def test_no_link_is_dead(read: dict[Path, Page]) -> None:
    assert len(read) > 60
    assert sum(len(page.links) for page in read.values()) > 3000
    wrong = dead(read)
    assert not wrong, "\n".join(wrong)


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    one, other = tmp_path / "one.html", tmp_path / "other.html"
    link = '<a href="other.html#{}">a</a>'
    one.write_text(f'{link.format("here")}{link.format("gone")}<img src="c.png">')
    other.write_text('<p id="here">')
    read = {path: Page(path.read_text()) for path in (one, other)}
    assert dead(read) == ["one.html: other.html#gone", "one.html: c.png"]
    assert read[one].unnamed == ["c.png"]


def test_every_page_is_reached_from_the_first(site: Path, read: dict[Path, Page]) -> None:
    seen, left = set(), [site / "index.html"]
    while left:
        path = left.pop()
        if path in read and path not in seen:
            seen.add(path)
            left += [(path.parent / link.partition("#")[0]).resolve() for link in read[path].links]
    generated = {site / f"{name}.html" for name in ("genindex", "search", "py-modindex", "404")}
    assert set(read) - seen - generated == set()
    assert {site / f"{page}.html" for page in pages().values()} <= set(read)


def test_pictures_are_light_and_described(site: Path, read: dict[Path, Page]) -> None:
    heavy = {
        path.name: path.stat().st_size
        for path in (site / "_images").iterdir()
        if path.stat().st_size > HEAVIEST
    }
    assert heavy == {}
    # Furo's own logo or icons have none; ours are all described.
    assert [name for page in read.values() for name in page.unnamed] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert 'src="http' not in text, path
        assert 'rel="stylesheet" href="http' not in text, path


def test_every_link_of_the_repository_leads_to_a_file() -> None:
    """As a reader of the repository follows them, README.md included."""
    wrong = []
    for name in pages():
        if name.endswith(".md") and name != "docs/index.md":
            folder = (ROOT / name).parent
            for target in targets((ROOT / name).read_text(encoding="utf-8")):
                place = unquote(target.partition("#")[0])
                if "://" not in target and place and not (folder / place).exists():
                    wrong.append(f"{name}: {target}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "turned"),
    [
        ("[a](docs/b.md#c)", "[a](b.md#c)"),
        ("[a](LICENSE)", "[a](files/LICENSE)"),
        ("[a](https://a.org/b.md)", "[a](https://a.org/b.md)"),
        ("[a](#here)", "[a](#here)"),
        ("see `docs/b.md`.", "see [`docs/b.md`](b.md)."),
        ("see `docs/none.md`.", "see `docs/none.md`."),
        ("    make run", "```sh\nmake run\n```"),
        ("- a\n\n      make run\n", "- a\n\n  ```sh\n  make run\n  ```"),
    ],
)
def test_a_link_is_turned(tmp_path: Path, text: str, turned: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "b.md").write_text("# b\n")
    (tmp_path / "LICENSE").write_text("MIT\n")
    gathered = Gathered(tmp_path / "out", tmp_path)
    assert gathered.turned(text, "other.md", "other").rstrip("\n") == turned


@pytest.mark.parametrize("link", ["docs/c.md", "docs", "../../etc/passwd", "/etc/passwd"])
def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path, link: str) -> None:
    (tmp_path / "docs").mkdir()
    with pytest.raises(BadLink, match=r"other\.md: "):
        Gathered(tmp_path / "out", tmp_path).turned(f"[a]({link})", "other.md", "other")
