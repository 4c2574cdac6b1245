"""Tests of the registry: names in their order, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from consensus.registry import Registry, import_parts, modules_of


@pytest.fixture
def colours() -> Registry[int]:
    registry: Registry[int] = Registry("colour")
    registry.register("red")(1)
    registry.register("amber")(2)
    return registry


def test_parts_are_found_by_name_in_the_order_of_registration(colours: Registry[int]) -> None:
    assert dict(colours) == {"red": 1, "amber": 2}
    assert list(colours) == ["red", "amber"]
    assert colours.named("amber") == 2
    assert "green" not in colours


def test_places_order_the_parts_and_registration_those_of_equal_places(
    colours: Registry[int],
) -> None:
    colours.register("blue", place=2)(3)
    colours.register("cyan", place=1)(4)
    colours.register("grey", place=2)(5)
    assert list(colours) == ["cyan", "blue", "grey", "red", "amber"]


def test_a_registered_class_stays_what_it_is() -> None:
    registry: Registry[type] = Registry("shape")

    @registry.register("round-1")
    class Round:
        pass

    assert registry["round-1"] is Round


def test_a_name_is_given_once(colours: Registry[int]) -> None:
    with pytest.raises(ValueError, match="colour 'red' is registered twice"):
        colours.register("red")(3)
    assert colours["red"] == 1


@pytest.mark.parametrize("name", ["", "Red", "1st", "two words", "a/b", "a.b", "red\n", "é"])
def test_a_malformed_name_is_refused(colours: Registry[int], name: str) -> None:
    with pytest.raises(ValueError, match="a name is a small letter, then"):
        colours.register(name)


def test_an_unknown_name_is_answered_with_the_nearest(colours: Registry[int]) -> None:
    with pytest.raises(ValueError, match="colour 'ambre' is not one of red, amber; did you mean"):
        colours.named("ambre")
    with pytest.raises(ValueError, match=r"colour 'zzz' is not one of red, amber$"):
        colours.named("zzz")
    with pytest.raises(KeyError):
        colours["ambre"]


def test_what_is_registered_for_a_while_is_forgotten(colours: Registry[int]) -> None:
    with colours.restored():
        colours.register("green")(3)
        assert colours["green"] == 3
    assert list(colours) == ["red", "amber"]


def test_every_module_of_a_package_is_imported_in_alphabetical_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "some_room"
    room.mkdir()
    (room / "__init__.py").touch()
    for name in ("b", "c", "a"):
        (room / f"{name}.py").write_text(f"import some_parts\nsome_parts.SEEN.append({name!r})\n")
    (tmp_path / "some_parts.py").write_text("SEEN = []\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert modules_of("some_room") == [f"some_room.{name}" for name in "abc"]
    assert "some_room.a" not in sys.modules
    import_parts("some_room")
    import_parts("some_room")
    assert sys.modules["some_parts"].SEEN == ["a", "b", "c"]


def test_a_cell_that_is_executed_again_replaces_its_class() -> None:
    registry: Registry[object] = Registry("shape")
    cell = "@registry.register('round')\nclass Round:\n    size = {}\n"
    for size in (1, 2):
        exec(cell.format(size), {"registry": registry, "__name__": "__main__"})
    assert registry["round"].size == 2  # type: ignore[attr-defined]
    other = cell.format(3).replace("class Round", "class Other")
    with pytest.raises(ValueError, match="registered twice, by __main__ and by __main__"):
        exec(other, {"registry": registry, "__name__": "__main__"})
    with pytest.raises(ValueError, match="registered twice, by __main__ and by a_module"):
        exec(cell.format(3), {"registry": registry, "__name__": "a_module"})
    assert registry["round"].size == 2  # type: ignore[attr-defined]
