"""The one owner of JSON: what is read from outside, and what is kept.

The kept form is RFC 8785 in spirit: no white space, keys sorted, UTF-8, one text for one value. It
differs where Python differs from ECMAScript: keys are sorted by code point, not by UTF-16 unit;
integers are exact whatever their size; a decimal is written as Python's shortest repr (`1.0`,
`1e-07`). What PostgreSQL's jsonb would give back changed is written as it would be given back
(`1e+22` as the integer it is, `-0.0` as `0.0`), so that a digest taken before storing equals one
taken after, on both databases.

Integers are exact or refused. Decimals are IEEE 754 doubles, as wherever JSON is read: 30 digits
are read as the nearest double; a decimal beyond the largest double, or so small that it would
become zero, is refused.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from workflows.core.errors import CanonicalError, UnstorableError, json_pointer

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode

_NO_CONTAINER = frozenset((str, int, float, bool, type(None)))

# A string is consumed to the end of the text where its closing quote is missing: that keeps the
# scan linear.
_BRACKETS_AND_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)

_SUSPICIOUS_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def dumps_canonical(value: Any, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> str:
    """Return the canonical JSON text of `value`.

    Args:
        value: None, bool, int, float, str, and lists, tuples and str-keyed dicts of these.
        max_bytes: the longest text accepted, in bytes of UTF-8.
        max_depth: how many lists and dicts may stand inside one another.

    Raises:
        UnstorableError: the value has no JSON form, or one that cannot be stored alike on every
            database.
    """
    # The C encoder does the work; its text tells whether a closer look is needed. Only depth and
    # keys need the value itself: the encoder silently turns the keys 1, None and True into text.
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        raise _explain_unstorable(value, max_depth) from None
    if not _has_storable_shape(value, max_depth) or "\\u0000" in text:
        _refuse_unstorable(value, max_depth)
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise _explain_unstorable(value, max_depth) from None
    if size > max_bytes:
        raise UnstorableError("too_large", f"{size} bytes of JSON; at most {max_bytes} are kept")
    if "e+" in text or "-0.0" in text:
        text = _encode(_as_jsonb_returns_it(value))
    return text


def loads_strict(
    text: bytes | str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> Any:
    """Read JSON from outside, refusing everything that two readers could understand differently.

    Args:
        text: UTF-8 without a byte order mark, or a str.
        max_bytes: the longest text accepted, in bytes of UTF-8.
        max_depth: how many arrays and objects may stand inside one another.

    Raises:
        CanonicalError: `too_large`, `not_utf8`, `byte_order_mark`, `lone_surrogate`, `too_deep`,
            `not_json`,
            `not_a_number`, `number_out_of_range`, `duplicate_key` or `nul_character`.
    """
    decoded = decode_strict(text, max_bytes=max_bytes)
    if _is_deeper_than(decoded, max_depth):
        raise CanonicalError("too_deep", f"nested more than {max_depth} deep")
    reader = _Reader()
    try:
        value = reader.decode(decoded)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise CanonicalError("not_json", f"not JSON: {error.msg} ({where})") from None
    if reader.has_duplicates or _SUSPICIOUS_ESCAPE.search(decoded):
        _refuse_ambiguous(value)
    return value


def decode_strict(text: bytes | str, *, max_bytes: int = MAX_BYTES) -> str:
    """Return a text from outside as a str, refusing what is not UTF-8 or too long.

    Raises:
        CanonicalError: `too_large`, `not_utf8`, `byte_order_mark` or `lone_surrogate`.
    """
    if len(text) > max_bytes:
        raise CanonicalError("too_large", f"more than {max_bytes} bytes")
    if isinstance(text, str):
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise CanonicalError("lone_surrogate", "the text holds a lone surrogate") from None
        if size > max_bytes:
            raise CanonicalError("too_large", f"more than {max_bytes} bytes")
        decoded = text
    else:
        if text.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise CanonicalError("not_utf8", "the text is UTF-16; it must be UTF-8")
        try:
            decoded = text.decode()
        except UnicodeDecodeError as error:
            raise CanonicalError("not_utf8", f"byte {error.start} is not UTF-8") from None
    if decoded.startswith("\ufeff"):
        raise CanonicalError("byte_order_mark", "the text begins with a byte order mark")
    return decoded


def digest(value: Any, *, max_bytes: int = MAX_BYTES) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, in hexadecimal.

    Raises:
        UnstorableError: as `dumps_canonical`.
    """
    return digest_of_text(dumps_canonical(value, max_bytes=max_bytes))


def digest_of_text(text: str) -> str:
    """Return the SHA-256 of a canonical text that is already at hand, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _is_deeper_than(text: str, max_depth: int) -> bool:
    """Tell whether a JSON text nests more than `max_depth` deep, without parsing it."""
    if text.count("[") + text.count("{") <= max_depth:
        return False
    depth = 0
    for match in _BRACKETS_AND_STRINGS.finditer(text):
        first = text[match.start()]
        if first in "[{":
            depth += 1
            if depth > max_depth:
                return True
        elif first in "]}":
            depth -= 1
    return False


def _has_storable_shape(value: Any, max_depth: int) -> bool:
    """Tell whether all keys are text and nothing is too deep, level by level."""
    level = [value]
    for _ in range(max_depth):
        below = []
        for item in level:
            if isinstance(item, dict):
                for key, child in item.items():
                    if type(key) is not str and not isinstance(key, str):
                        return False
                    if type(child) not in _NO_CONTAINER:
                        below.append(child)
            elif isinstance(item, list | tuple):
                for child in item:
                    if type(child) not in _NO_CONTAINER:
                        below.append(child)
        if not below:
            return True
        level = below
    return not any(isinstance(item, dict | list | tuple) for item in level)


class _Duplicates(dict[str, Any]):
    """An object that named a key twice; it exists only until the reading ends in a refusal."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        times = Counter(key for key, _ in pairs)
        self.key = next(key for key, _ in pairs if times[key] > 1)


class _Reader(json.JSONDecoder):
    def __init__(self) -> None:
        self.has_duplicates = False
        super().__init__(
            object_pairs_hook=self._object,
            parse_int=_read_int,
            parse_float=_read_float,
            parse_constant=_refuse_constant,
        )

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(pairs)
        if len(read) == len(pairs):
            return read
        self.has_duplicates = True
        return _Duplicates(pairs)


def _read_int(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python's own limit, 4,300 digits, which also bounds the time this takes
        raise CanonicalError(
            "number_out_of_range", f"an integer of {len(digits)} digits is too long"
        ) from None


def _read_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise CanonicalError("number_out_of_range", f"{_short(text)} is beyond every decimal")
    if number == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        raise CanonicalError("number_out_of_range", f"{_short(text)} would be rounded to zero")
    return number


def _refuse_constant(name: str) -> Any:
    raise CanonicalError("not_a_number", f"{name} is not JSON")


def _refuse_ambiguous(value: Any) -> None:
    for path, item in _walk(value):
        if isinstance(item, _Duplicates):
            raise CanonicalError(
                "duplicate_key",
                f"the key {_short(item.key)!r} is given twice",
                json_pointer([*path, item.key]),
            )
        for text in item if isinstance(item, dict) else (item,):
            if isinstance(text, str) and (problem := _text_problem(text)):
                raise CanonicalError(*problem, json_pointer(path))


def _refuse_unstorable(value: Any, max_depth: int) -> None:
    """Raise for the first thing in a value that cannot be stored, if there is one."""
    for path, item in _walk(value):
        if len(path) >= max_depth and isinstance(item, dict | list | tuple):
            raise UnstorableError("too_deep", f"nested more than {max_depth} deep")
        if problem := _item_problem(item):
            raise UnstorableError(*problem, json_pointer(path))


def _explain_unstorable(value: Any, max_depth: int) -> UnstorableError:
    try:
        _refuse_unstorable(value, max_depth)
    except UnstorableError as error:
        return error
    return UnstorableError("not_json", "the value cannot be written as JSON")


def _item_problem(item: Any) -> tuple[str, str] | None:
    if isinstance(item, str):
        return _text_problem(item)
    if isinstance(item, dict):
        for key in item:
            if not isinstance(key, str):
                return "key_type", f"a key is {_article(key)}; keys are text"
            if problem := _text_problem(key):
                return problem
        return None
    if isinstance(item, float) and not math.isfinite(item):
        return "not_a_number", f"{float(item)!r} is no number that JSON knows"
    if isinstance(item, int) and not isinstance(item, bool):
        try:
            int.__repr__(item)
        except ValueError:
            return "number_out_of_range", "an integer has too many digits"
        return None
    if item is None or isinstance(item, bool | float | list | tuple):
        return None
    return "value_type", f"{_article(item)} cannot be stored as JSON"


def _text_problem(text: str) -> tuple[str, str] | None:
    if "\0" in text:
        return "nul_character", "a text holds a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "lone_surrogate", "a text holds a lone surrogate"
    return None


def _walk(value: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every value with its path, outermost first; the caller bounds the depth."""
    pending: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while pending:
        path, item = pending.pop()
        yield path, item
        if isinstance(item, dict):
            children = [((*path, key), child) for key, child in item.items()]
        elif isinstance(item, list | tuple):
            children = [((*path, index), child) for index, child in enumerate(item)]
        else:
            continue
        pending.extend(reversed(children))


def _as_jsonb_returns_it(value: Any) -> Any:
    """Rebuild a storable value with large decimals as integers and negative zeros as zeros.

    Recursion is safe: the depth has been checked.
    """
    if isinstance(value, dict):
        return {key: _as_jsonb_returns_it(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_as_jsonb_returns_it(child) for child in value]
    if isinstance(value, float) and not isinstance(value, bool):
        if value == 0:
            return 0.0
        return int(value) if abs(value) >= 1e16 else value
    return value


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def _article(item: Any) -> str:
    return f"a value of type {type(item).__name__}"
