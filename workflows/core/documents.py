"""Definitions as text: JSON and YAML.

YAML is read as another way to write JSON: plain words are what they are in JSON (`true`, `null`,
`1.5`; an empty value and `~` are null too) and everything else is text, so `no`, `0123` and
`2024-01-01` stay what was written. Keys are text and stand once; there are no aliases and no tags.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NoReturn

import yaml

from workflows.core.canonical import decode_strict, loads_strict
from workflows.core.definition import DEFAULT_LIMITS, Limits
from workflows.core.errors import CanonicalError, json_pointer

_JSON_WORD = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null", re.ASCII)
_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")

# libyaml's parser where the wheel has it; both read alike, and neither recurses.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_document(
    text: bytes | str, format: Literal["json", "yaml"], limits: Limits = DEFAULT_LIMITS
) -> Any:
    """Read the text of a definition; `definition.parse_definition` says whether it is one.

    Raises:
        CanonicalError: the text is not what it should be, too long or too deep.
    """
    if format == "json":
        return loads_strict(text, max_bytes=limits.document_bytes, max_depth=limits.depth)
    decoded = decode_strict(text, max_bytes=limits.document_bytes)
    try:
        return _Builder(limits.depth).build(yaml.parse(decoded, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        where = _place(error.problem_mark) if error.problem_mark else ""
        raise CanonicalError("not_yaml", f"not YAML: {error.problem}{where}") from None
    except yaml.YAMLError as error:
        first, _, _ = str(error).partition("\n")
        raise CanonicalError("not_yaml", f"not YAML: {first}") from None


class _Builder:
    """Builds a value from YAML's events, without recursion."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._open: list[list[Any] | dict[str, Any]] = []
        self._keys: list[str | None] = []
        self._documents: list[Any] = []

    def build(self, events: Iterator[yaml.Event]) -> Any:
        for event in events:
            if isinstance(event, yaml.AliasEvent):
                self._refuse("alias", "aliases are not accepted", event)
            elif isinstance(event, yaml.ScalarEvent):
                self._add(self._scalar(event), event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._begin(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._open.pop()
                self._keys.pop()
        if len(self._documents) != 1:
            raise CanonicalError("not_yaml", f"{len(self._documents)} documents instead of one")
        return self._documents[0]

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        if event.tag is not None:
            self._refuse("tag", f"the tag {event.tag} is not accepted", event)
        if len(self._open) >= self._max_depth:
            self._refuse("too_deep", f"nested more than {self._max_depth} deep", event)
        value: list[Any] | dict[str, Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._add(value, event)
        self._open.append(value)
        self._keys.append(None)

    def _add(self, value: Any, event: yaml.Event) -> None:
        if not self._open:
            self._documents.append(value)
            return
        container, key = self._open[-1], self._keys[-1]
        if isinstance(container, list):
            container.append(value)
        elif key is not None:
            container[key] = value
            self._keys[-1] = None
        else:
            self._expect_value_of(value, container, event)

    def _expect_value_of(self, key: Any, container: dict[str, Any], event: yaml.Event) -> None:
        if not isinstance(key, str):
            self._refuse("key_type", "keys are text; write this one in quotes", event)
        if key in container:
            self._refuse("duplicate_key", f"the key {key[:60]!r} is given twice", event, key)
        self._keys[-1] = key

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        if event.tag not in _TEXT_TAGS:
            self._refuse("tag", f"the tag {event.tag} is not accepted", event)
        is_plain = event.implicit[0] and event.style in (None, "")
        if not is_plain:
            return event.value
        if event.value in ("", "~"):
            return None
        return loads_strict(event.value) if _JSON_WORD.fullmatch(event.value) else event.value

    def _refuse(self, reason: str, message: str, event: yaml.Event, *key: str) -> NoReturn:
        # An open container is the last item of the one around it.
        path: list[str | int] = [
            len(around) - 1 if isinstance(around, list) else next(reversed(around))
            for around in self._open[:-1]
        ]
        if self._open and isinstance(self._open[-1], list):
            path.append(len(self._open[-1]))
        elif self._open and self._keys[-1] is not None:
            path.append(self._keys[-1])
        message = f"{message}{_place(event.start_mark)}"
        raise CanonicalError(reason, message, json_pointer([*path, *key]))


def _place(mark: Any) -> str:
    return f" (line {mark.line + 1}, column {mark.column + 1})"


def dump_document(document: Mapping[str, Any], format: Literal["json", "yaml"]) -> str:
    """Return the text of a definition, which `load_document` reads as the same document."""
    if format == "json":
        return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    text: str = yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)
    return text


class _PlainDumper(yaml.SafeDumper):
    """Writes equal values out each time: whoever reads definitions accepts no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# "1e5" is a number to readers of YAML 1.2, though not to this writer: such text needs quotes.
_PlainDumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?"), list("-0123456789")
)
