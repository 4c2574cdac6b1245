"""JSON whose depth is bounded before it is parsed."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.ethereum.bounded_json import DEEPEST, parse

MANY: Final = 100_000
JSON_LETTERS: Final = '"\\[]{},:1 a'


def test_as_deep_as_allowed_and_one_deeper() -> None:
    assert parse(b"[" * DEEPEST + b"]" * DEEPEST) is not None
    with pytest.raises(ValueError, match="at most"):
        parse(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1))


@pytest.mark.parametrize("text", ["]" * MANY, '\\"' + "]" * MANY, "}" * MANY + "\\\\"])
def test_closing_brackets_in_a_text_make_no_room_for_deeper_lists(text: str) -> None:
    deep = "[" * MANY + "]" * MANY
    with pytest.raises(ValueError, match="at most"):
        parse(f'{{"a": "{text}", "b": {deep}}}'.encode())


def test_brackets_in_a_text_do_not_count() -> None:
    assert parse(json.dumps(["[{" * MANY, "é\u2028"]).encode()) == ["[{" * MANY, "é\u2028"]


@given(st.text(JSON_LETTERS, max_size=16))
def test_all_else_is_as_the_standard_parser_has_it(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            parse(text.encode())
    else:
        assert parse(text.encode()) == expected


@pytest.mark.parametrize(
    "data", [b'"' + b'\\"' * MANY, b'"' * MANY, b"\xff", "[1]".encode("utf-16")]
)
def test_what_is_no_json_is_told_at_once(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(data)
