"""What differs between two JSON documents, and between two definitions: step by step, by name."""

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from workflows.core.comparison import same_beginning
from workflows.core.definition import read_fields
from workflows.core.errors import DefinitionError

MOST_CHANGES: Final = 1_000
LONGEST_VALUE: Final = 2_000
#: How much of a long text is shown before the first place at which it differs.
BEFORE_DIFFERENCE: Final = 200

#: Stands for a value where there is no place for one.
MISSING: Final = object()

Kind = Literal["added", "removed", "changed", "moved"]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One place of a definition that differs.

    Attributes:
        kind: what became of it. A step moved if it stands in another block, or elsewhere among
            the steps around it; a step under another name was removed, and another one added.
        step_name: the step that it is in; "" for the workflow's own fields.
        path: the keys to the place in its step or in the workflow; variables stand under their
            names. Empty where it is about the step as a whole.
        before, after: the values, whole; None on the side where there is none. Of a step that
            moved: the names of its block and of the step before it.
    """

    kind: Kind
    step_name: str
    path: Path
    before: Any = None
    after: Any = None

    def bounded(self) -> "Change":
        """Return the change with both values bounded: long ones as texts, cut to a stretch around
        the first place at which they differ."""
        before, after = texts_of(self.before, self.after)
        if max(len(before), len(after)) <= LONGEST_VALUE:
            return self
        start = max(0, same_beginning(before, after) - BEFORE_DIFFERENCE)
        return replace(
            self, before=_cut(self.before, before, start), after=_cut(self.after, after, start)
        )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Compare two definition documents, whether or not they write out their defaults.

    Returns at most `MOST_CHANGES`: the workflow's own first, then step by step as they stand in
    `after`, then the steps that are gone.
    """
    old, new = _spelled_out(before), _spelled_out(after)
    found: list[Change] = []
    for change in _changes(old, new):
        if len(found) == MOST_CHANGES:
            break
        found.append(change)
    return found


def walk(before: Any, after: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Yield each place at which two JSON values differ, with both; `MISSING` where it is not."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            yield from walk(before.get(key, MISSING), after.get(key, MISSING), (*path, str(key)))
    elif _are_lists_of_more(before, after):
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else MISSING
            new = after[index] if index < len(after) else MISSING
            yield from walk(old, new, (*path, index))
    elif not _is_same(before, after):
        yield path, before, after


def texts_of(before: Any, after: Any) -> tuple[str, str]:
    """Return two values that differ as they are read: a text as it is, anything else as JSON.

    What would read alike that way (5 and "5") is JSON on both sides. `MISSING` is nothing.
    """
    as_read, other = (side if isinstance(side, str) else _json(side) for side in (before, after))
    return (as_read, other) if as_read != other else (_json(before), _json(after))


def _json(value: Any) -> str:
    return "" if value is MISSING else json.dumps(value, ensure_ascii=False)


def _cut(value: Any, text: str, start: int) -> Any:
    if not start and len(text) <= LONGEST_VALUE:
        return value
    end = start + LONGEST_VALUE
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _is_same(before: Any, after: Any) -> bool:
    """Tell whether two values are written alike: true is not 1, and 1 is not 1.0."""
    if before is MISSING or after is MISSING or type(before) is not type(after):
        return before is after
    if isinstance(before, dict | list):
        return json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    return bool(before == after)


def _are_lists_of_more(before: Any, after: Any) -> bool:
    """Lists of plain values read better as one line; those of objects place by place."""
    if not isinstance(before, list) or not isinstance(after, list):
        return False
    return any(isinstance(each, dict | list) for each in [*before, *after])


@dataclass(frozen=True, slots=True)
class _Placed:
    """A step without those inside it; `block` and `previous`: what it stands in, and after what."""

    fields: dict[str, Any]
    block: str
    previous: str

    @property
    def place(self) -> dict[str, str]:
        return {"block": self.block, "after": self.previous}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    yield from _compare("", _own(before), _own(after))
    old, new = _placed(before), _placed(after)
    moved = _moved(old, new)
    for name, step in new.items():
        if name not in old:
            yield Change("added", name, (), None, step.fields)
            continue
        if name in moved:
            yield Change("moved", name, (), old[name].place, step.place)
        yield from _compare(name, old[name].fields, step.fields)
    for name, step in old.items():
        if name not in new:
            yield Change("removed", name, (), step.fields, None)


def _compare(step: str, before: Any, after: Any) -> Iterator[Change]:
    for path, old, new in walk(before, after):
        if old is MISSING:
            yield Change("added", step, path, None, new)
        elif new is MISSING:
            yield Change("removed", step, path, old, None)
        else:
            yield Change("changed", step, path, old, new)


def _spelled_out(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a definition with its defaults; one that cannot be read (any more) as it is."""
    try:
        return read_fields(dict(document)).model_dump(mode="json", exclude_none=True)
    except DefinitionError:
        return document


def _own(document: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in document.items() if key not in ("steps", "variables")}
    return own | {"variables": {each["name"]: each for each in document.get("variables") or ()}}


def _placed(document: Mapping[str, Any]) -> dict[str, _Placed]:
    """Return all steps by their names, each before those inside it."""
    found: dict[str, _Placed] = {}

    def place(steps: Sequence[Mapping[str, Any]], block: str) -> None:
        previous = ""
        # What is shown first is what comes first; the number itself only says that.
        for step in sorted(steps, key=lambda step: step.get("step_order") or 0):
            fields = {
                key: value for key, value in step.items() if key not in ("name", "step_order")
            }
            config = dict(step.get("config") or {})
            inside = config.pop("steps", None) or ()
            found[step["name"]] = _Placed(fields | {"config": config}, block, previous)
            place(inside, step["name"])
            previous = step["name"]

    place(document.get("steps") or (), "")
    return found


def _moved(before: Mapping[str, _Placed], after: Mapping[str, _Placed]) -> set[str]:
    """Return the steps that stand in another block, and the fewest that changed their order."""
    moved = {name for name in after if name in before and before[name].block != after[name].block}
    positions = {name: position for position, name in enumerate(before)}
    blocks: dict[str, list[str]] = {}
    for name, step in after.items():
        if name in before and name not in moved:
            blocks.setdefault(step.block, []).append(name)
    for names in blocks.values():
        kept = _longest_rising([positions[name] for name in names])
        moved |= {name for name in names if positions[name] not in kept}
    return moved


def _longest_rising(numbers: Sequence[int]) -> set[int]:
    """Return a longest subsequence that rises; the numbers are distinct."""
    ends: list[int] = []
    before: dict[int, int | None] = {}
    for number in numbers:
        place = bisect_left(ends, number)
        before[number] = ends[place - 1] if place else None
        ends[place : place + 1] = [number]
    kept = set()
    last = ends[-1] if ends else None
    while last is not None:
        kept.add(last)
        last = before[last]
    return kept
