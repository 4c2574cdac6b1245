"""Patches of torture's mutants: each must replace a function that is called."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from consensus.ledger import chain, committee, validity
from consensus.ledger.committee import Committee
from consensus.server import checks
from consensus.torture.mutants.patch import BadPatch, Patch
from consensus.torture.mutants.stand_ins import always

SEVEN = always(7)


class Smaller(Committee):
    """A committee with all methods of its base class."""


@pytest.mark.parametrize(
    ("owner", "name", "imported", "message"),
    [
        (chain, "check_moon", False, r"chain\.check_moon: there is no such function$"),
        (Committee, "check_moon", False, "there is no such function"),
        (Smaller, "approves", False, r"Smaller\.approves: the class inherits it"),
        (checks, "check_ticket", False, r"defined in consensus\.ledger\.committee, patch it there"),
        (committee, "check_ticket", True, "defined there, not imported"),
    ],
)
def test_a_patch_that_replaces_nothing_is_refused(
    owner: type, name: str, imported: bool, message: str
) -> None:
    with pytest.raises(BadPatch, match=message) as caught:
        Patch(owner, name, SEVEN, imported)
    assert "\n" not in str(caught.value)


MODULE = """
from functools import cached_property, lru_cache
from consensus.ledger.validity import (
    check_certificate, check_header, check_signature, check_signers
)

class Thing:
    check_certificate = None

    def check(self):
        return self.check_certificate()

    @property
    def headed(self):
        return [check_header() for _ in range(3)]

    @cached_property
    def signed(self):
        return check_signature()

@lru_cache
def listed():
    return lambda: check_signers()
"""


def test_a_patch_of_what_is_imported_but_not_called_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions inside functions, of properties and behind caches count as calls; an attribute of
    the same name does not."""
    (tmp_path / "moved_module.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("moved_module")
    for name in ("check_header", "check_signature", "check_signers"):
        with Patch(module, name, SEVEN, imported=True).applied():
            assert getattr(module, name)() == 7
        assert getattr(module, name) is getattr(validity, name)
    with pytest.raises(BadPatch, match="but no function there calls it"):
        Patch(module, "check_certificate", SEVEN, imported=True)
    assert module.listed()


def test_a_patch_is_undone_after_an_error() -> None:
    original = Committee.approves
    patch = Patch(Committee, "approves", SEVEN)
    with pytest.raises(ZeroDivisionError), patch.applied():
        raise ZeroDivisionError(Committee.approves())
    assert Committee.approves is original
