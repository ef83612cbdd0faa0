"""What is read from outside and what is kept: the two must never differ."""

import datetime
import json
import math
import time
from collections import OrderedDict
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.core.canonical import (
    MAX_BYTES,
    MAX_DEPTH,
    digest,
    digest_of_text,
    dumps_canonical,
    loads_strict,
)
from workflows.core.errors import CanonicalError, UnstorableError

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


def label(value: Any) -> str:
    """Name a case briefly: some are a million characters long, some have no text at all."""
    return str(value)[:20] if isinstance(value, str | bytes) else type(value).__name__


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@given(values)
def test_what_is_kept_is_what_was_given(value: Any) -> None:
    kept = dumps_canonical(value)
    assert loads_strict(kept) == value
    assert dumps_canonical(loads_strict(kept)) == kept


@given(values)
def test_keys_in_another_order_are_the_same_value(value: Any) -> None:
    def reversed_keys(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: reversed_keys(item[key]) for key in reversed(item)}
        return [reversed_keys(child) for child in item] if isinstance(item, list) else item

    assert digest(reversed_keys(value)) == digest(value)


@given(values)
def test_the_strict_reader_agrees_with_json(value: Any) -> None:
    for written in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert loads_strict(written) == value
        assert loads_strict(written.encode()) == value


@given(st.text(alphabet='[]{}",:\\u0dD8 \n1e+-.tn\0x', max_size=40) | st.binary(max_size=20))
def test_the_strict_reader_only_accepts_what_json_accepts(source: str | bytes) -> None:
    try:
        value = loads_strict(source)
    except CanonicalError:
        return
    assert json.loads(source) == value


def test_the_canonical_text_has_no_space_and_sorted_keys() -> None:
    assert dumps_canonical({"b": [1, 1.5, None, True], "a": "é\n"}) == (
        '{"a":"é\\n","b":[1,1.5,null,true]}'
    )


def test_digests_are_sha256_of_the_canonical_text() -> None:
    value = {"b": 1, "a": "é"}
    assert digest(value) == digest_of_text('{"a":"é","b":1}')
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1e22, "10000000000000000000000"),
        (-1e16, "-10000000000000000"),
        (-0.0, "0.0"),
        ([{"a": 1e300}], "[{" + f'"a":{int(1e300)}' + "}]"),
        ("1e+22 -0.0", '"1e+22 -0.0"'),
        (-0.05, "-0.05"),
        (1e-7, "1e-07"),
        (1.0, "1.0"),
    ],
    ids=label,
)
def test_numbers_are_kept_as_jsonb_would_return_them(value: Any, kept: str) -> None:
    assert dumps_canonical(value) == kept


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ((1, (2,)), "[1,[2]]"),
        (Colour.RED, '"red"'),
        ({Colour.RED: Colour.RED}, '{"red":"red"}'),
        (OrderedDict(b=1, a=2), '{"a":2,"b":1}'),
        ("\\u0000", '"\\\\u0000"'),
        (2**53 + 1, "9007199254740993"),
        (2**63, "9223372036854775808"),
        (10**3999, "1" + "0" * 3999),
        (nested(MAX_DEPTH), "[" * MAX_DEPTH + "]" * MAX_DEPTH),
        ("[" * 100, f'"{"[" * 100}"'),
    ],
    ids=label,
)
def test_python_relatives_of_json_are_kept(value: Any, kept: str) -> None:
    assert dumps_canonical(value) == kept


def cyclic() -> Any:
    value: dict[str, Any] = {}
    value["again"] = [value, value]
    return value


@pytest.mark.parametrize(
    ("value", "reason", "path"),
    [
        (b"bytes", "value_type", ""),
        ({"a": {1, 2}}, "value_type", "/a"),
        ({"a": [1, object()]}, "value_type", "/a/1"),
        (datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), "value_type", ""),
        ({"a": math.nan}, "not_a_number", "/a"),
        ([math.inf], "not_a_number", "/0"),
        ({1: "a"}, "key_type", ""),
        ({"a": {None: 1}}, "key_type", "/a"),
        ({"a": {True: 1}}, "key_type", "/a"),
        ({"a": {1: 1, "b": 2}}, "key_type", "/a"),
        ({"a~/b": "x\0y"}, "nul_character", "/a~0~1b"),
        ({"x\0y": 1}, "nul_character", ""),
        (["\ud800"], "lone_surrogate", "/0"),
        ({"\udfff": 1}, "lone_surrogate", ""),
        (10**5000, "number_out_of_range", ""),
        (cyclic(), "too_deep", None),
        (nested(MAX_DEPTH + 1), "too_deep", None),
        (nested(100_000), "too_deep", None),
        ("x" * MAX_BYTES, "too_large", None),
        ("é" * (MAX_BYTES // 2), "too_large", None),
        (list(range(1_000_000)), "too_large", None),
    ],
    ids=label,
)
def test_what_cannot_be_stored_is_refused(value: Any, reason: str, path: str | None) -> None:
    with pytest.raises(UnstorableError) as caught:
        dumps_canonical(value)
    assert caught.value.code == "unstorable_output"
    assert (caught.value.reason, caught.value.path) == (reason, path)


def test_limits_are_exact() -> None:
    assert dumps_canonical("x" * 8, max_bytes=10) == '"xxxxxxxx"'
    with pytest.raises(UnstorableError):
        dumps_canonical("x" * 9, max_bytes=10)
    assert dumps_canonical({"a": []}, max_depth=2) == '{"a":[]}'
    with pytest.raises(UnstorableError):
        dumps_canonical({"a": []}, max_depth=1)
    assert loads_strict("[[]]", max_depth=2) == [[]]
    with pytest.raises(CanonicalError):
        loads_strict("[[]]", max_depth=1)
    assert loads_strict('"é"', max_bytes=4) == "é"
    with pytest.raises(CanonicalError):
        loads_strict('"é"', max_bytes=3)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("9007199254740993", 2**53 + 1),
        ("9223372036854775808", 2**63),
        ("1" * 4000, int("1" * 4000)),
        ("0.123456789012345678901234567890", 0.12345678901234568),
        ("0e-400", 0.0),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\\\u0000 \\\\ud800"', "\\u0000 \\ud800"),
        ('{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}', {"a": "[" * 36}),
        ("[" + "[],[]," * 50 + "[]]", [[]] * 101),
    ],
    ids=label,
)
def test_unusual_json_is_read_exactly(source: str, value: Any) -> None:
    assert loads_strict(source) == value


@pytest.mark.parametrize(
    ("source", "reason", "path"),
    [
        ('{"a":1,"a":1}', "duplicate_key", "/a"),
        ('[0,{"x":{"b":1,"c/d":2,"c\\u002fd":3}}]', "duplicate_key", "/1/x/c~1d"),
        ("NaN", "not_a_number", None),
        ('{"a":[-Infinity]}', "not_a_number", None),
        ("1e400", "number_out_of_range", None),
        ("-1e400", "number_out_of_range", None),
        ("1e-400", "number_out_of_range", None),
        ("1" * 5000, "number_out_of_range", None),
        ('{"a":"x\\u0000"}', "nul_character", "/a"),
        ('{"\\u0000":1}', "nul_character", ""),
        ('"\0"', "not_json", None),
        ('["\\ud800"]', "lone_surrogate", "/0"),
        ('["\\uDC00\\ud83d"]', "lone_surrogate", "/0"),
        ('"\ud800"', "lone_surrogate", None),
        (b'"\xed\xa0\x80"', "not_utf8", None),
        (b'"\xff"', "not_utf8", None),
        ("\ufeff{}", "byte_order_mark", None),
        (b"\xef\xbb\xbf{}", "byte_order_mark", None),
        ("{}".encode("utf-16"), "not_utf8", None),
        ("{}".encode("utf-16-be"), "not_json", None),
        ("", "not_json", None),
        ("{} {}", "not_json", None),
        ("{'a':1}", "not_json", None),
        ("[1,]", "not_json", None),
        ("01", "not_json", None),
        ("x" * (MAX_BYTES + 1), "too_large", None),
        (b" " * (MAX_BYTES + 1), "too_large", None),
        ("[" * 100 + "]" * 100, "too_deep", None),
        ("[" * 1_000, "too_deep", None),
        ('{"a":' * 100_000, "too_deep", None),
        ('{"a":{"b":' * 50 + "1" + "}}" * 50, "too_deep", None),
    ],
    ids=label,
)
def test_what_two_readers_could_read_differently_is_refused(
    source: str | bytes, reason: str, path: str | None
) -> None:
    with pytest.raises(CanonicalError) as caught:
        loads_strict(source)
    assert (caught.value.code, caught.value.path) == (reason, path)


@pytest.mark.parametrize(
    "source",
    [
        '"' + '\\"' * 500_000,
        '"' + '[\\"' * 300_000,
        "[" * 40 + '"\\' * 300_000,
        '[{"":' * 200_000,
        "[]" * 500_000,
    ],
    ids=label,
)
def test_hostile_texts_are_refused_quickly(source: str) -> None:
    start = time.perf_counter()
    with pytest.raises(CanonicalError):
        loads_strict(source)
    assert time.perf_counter() - start < 2
