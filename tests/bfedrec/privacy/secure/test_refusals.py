"""Malformed messages and schemes: refused, in little time, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.privacy.secure.messages import HEAD, MASKED, SETUP, UNMASK, Malformed, Setup, flaw
from bfedrec.privacy.secure.scheme import Scheme
from tests.helpers.masked_group import SMALL, Group

GROUP = Group.of(SMALL, 9)
GROUP.play()


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_judged(payload: bytes) -> None:
    assert flaw(SMALL, payload) is None or isinstance(flaw(SMALL, payload), str)


@given(st.sampled_from(GROUP.sent), st.integers(-20, 20))
@settings(max_examples=100, deadline=None)
def test_another_length_is_refused(payload: bytes, more: int) -> None:
    changed = payload + bytes(more) if more > 0 else payload[: len(payload) + more]
    assert (flaw(SMALL, changed) is None) == (more == 0)


def head_of(stage: int) -> bytes:
    return next(payload for payload in GROUP.sent if payload[0] == stage)


@pytest.mark.parametrize(
    ("stage", "at", "bytes_", "reason"),
    [
        (SETUP, 0, b"\x03", "no stage"),
        (SETUP, HEAD, b"\x02", "the group's size"),
        (SETUP, HEAD, b"\xff", "the group's size"),
        (SETUP, HEAD, b"\x08", "length"),
        (SETUP, HEAD + 1, b"\xff\xff\xff\xff" * 2, "the group's members"),
        (SETUP, 1, b"\xff\xff\x00\x00", "the group's members"),
        (SETUP, HEAD + 1 + 36, bytes(32), "small order"),
        (MASKED, HEAD + 1, b"\xff", "beyond the group"),
        (UNMASK, HEAD + 1, b"\xff", "beyond the group"),
        (UNMASK, HEAD + 3, b"\xff", "beyond the group"),
        (UNMASK, HEAD + 2, b"\x01", "length"),
    ],
)
def test_what_is_not_of_the_form_is_refused(
    stage: int, at: int, bytes_: bytes, reason: str
) -> None:
    payload = head_of(stage)
    changed = payload[:at] + bytes_ + payload[at + len(bytes_) :]
    assert len(changed) == len(payload)
    assert reason in str(flaw(SMALL, changed))


def test_unused_bits_are_refused() -> None:
    scheme = Scheme(3, 3, 4, True, 9)  # 9 levels of 7 bits, 3 counts of 4
    group = Group.of(scheme, 9)
    group.play()
    payload = next(each for each in group.sent if each[0] == MASKED)
    for place in (HEAD + scheme.map_size + 7, len(payload) - 1):
        changed = bytearray(payload)
        changed[place] |= 0x80
        assert "unused bits" in str(flaw(scheme, bytes(changed)))


def test_a_setup_comes_back_and_raises_for_nothing() -> None:
    payload = head_of(SETUP)
    assert Setup.decode(SMALL, payload).encode(SMALL) == payload
    with pytest.raises(Malformed):
        Setup.decode(SMALL, b"")


@pytest.mark.parametrize(
    "changes",
    [
        {"group": 2},
        {"group": 256},
        {"neighbours": 3},
        {"neighbours": 10},
        {"rows": 0},
        {"levels": 5000},
    ],
)
def test_impossible_schemes_are_refused(changes: dict[str, int]) -> None:
    values = {"rows": 3, "items": 10, "levels": 4, "counted": True, "group": 9} | changes
    with pytest.raises(ValueError, match=r"expected|neighbours|rows"):
        Scheme(**values)  # type: ignore[arg-type]


@given(st.integers(3, 100), st.binary(min_size=32, max_size=32))
@settings(max_examples=50, deadline=None)
def test_everybody_is_dealt_into_one_group_of_nearly_equal_size(count: int, beacon: bytes) -> None:
    groups = SMALL.deal(range(count), beacon)
    assert sorted(number for group in groups for number in group) == list(range(count))
    sizes = [len(group) for group in groups]
    assert max(sizes) <= 9
    assert max(sizes) - min(sizes) <= 1
    assert SMALL.deal(list(reversed(range(count))), beacon) == groups
