"""Definitions that cannot be read as they are written, read as far as they can be.

So that what is wrong in one place hides nothing that is wrong in another: a stand-in takes the
place of each value that is refused, and what is only about stand-ins is not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from copy import copy
from itertools import accumulate
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from workflows.core.compiled import Place, places_of
from workflows.core.definition import place_of_error, problem_of
from workflows.core.errors import Problem, json_pointer
from workflows.core.steps import STEP_TYPES, AnyStep

_BLOCK_TYPES: Final = ("parallel", "sequential")
_MOST_ROUNDS: Final = 8
_MOST_TRIES: Final = 2

_ABSENT: Final = object()
_NAME: Final = "?"
_ANY_STEP: Final = {"name": _NAME, "step_type": "task", "config": {"task": _NAME}}

# What is wrong with a value, in pydantic's words and ours → a value that is accepted there. What
# is not among them is left out: it is not known here, or has a default.
_STAND_INS: Final[Mapping[str, Any]] = {
    kind: value
    for value, kinds in (
        (_NAME, "missing string_type string_too_long string_too_short"),
        (_NAME, "blank invalid_name reserved_name"),
        (1, "int_type int_from_float float_type finite_number"),
        (1, "greater_than_equal less_than_equal"),
        ({}, "dict_type model_type model_attributes_type"),
        ([_NAME], "list_type tuple_type"),
    )
    for kind in kinds.split()
}

_reader: TypeAdapter[AnyStep] = TypeAdapter(AnyStep)


class PartialReading:
    """What can be read of the steps of a document whose `errors` are known.

    Attributes:
        steps: those that could be read, with the keys that lead to them.
        problems: what is wrong besides, and was hidden by the `errors`.
    """

    def __init__(self, document: Mapping[str, Any], errors: Sequence[Problem]) -> None:
        self.steps: list[tuple[Place, AnyStep]] = []
        self.problems: list[Problem] = []
        self._document = document
        self._told = {(problem.error_type, problem.path) for problem in errors}
        self._unread: dict[Place, set[str | int]] = {}
        self._misspelt: set[Place] = set()
        self._places: set[str] = set()
        self._read(list_in(document, "steps"), ("steps",))

    def unread(self, place: Place) -> AbstractSet[str | int]:
        """Return the keys at a place of which, or of what is in them, something is a stand-in."""
        return self._unread.get(place, frozenset())

    def told(self, problems: Sequence[Problem]) -> Iterator[Problem]:
        """Yield those problems that are not about a stand-in."""
        for problem in problems:
            parts = problem.path.split("/")
            if self._places.isdisjoint(accumulate(parts, lambda one, other: f"{one}/{other}")):
                yield problem

    def _read(self, given: Sequence[Any], at: Place) -> None:
        for index, step in enumerate(given):
            try:
                read = _reader.validate_python(step)
            except ValidationError:
                if isinstance(step, dict):
                    self._read_partly(step, (*at, index))
            else:
                self.steps += (
                    ((*at, index, *rest[1:]), inner) for rest, inner in places_of([read], ())
                )

    def _read_partly(self, step: dict[str, Any], place: Place) -> None:
        step_type, config = step.get("step_type"), step.get("config")
        config = config if isinstance(config, dict) else {}
        given = {**step}
        inside: Sequence[Any] = ()
        if step_type in _BLOCK_TYPES:
            # Those inside are read one by one.
            inside = list_in(config, "steps")
            given["config"] = {**config, "steps": [_ANY_STEP]}
        elif step_type not in STEP_TYPES:
            # What every type has can be checked; what its own fields mean is not known.
            given |= {"step_type": "task", "config": {**config, "task": _NAME}}
            self._note(place, ("step_type",), ("config", "task"))
        read = self._mended(_Patched(given), place)
        if read is not None:
            name = step.get("name")
            name = name if isinstance(name, str) else ""
            self.steps.append((place, read.model_copy(update={"name": name})))
        self._read(inside, (*place, "config", "steps"))

    def _mended(self, given: _Patched, place: Place) -> AnyStep | None:
        """Read a step with stand-ins for what is refused; None where that does not help."""
        tries: dict[Place, int] = {}
        for _ in range(_MOST_ROUNDS):
            try:
                return _reader.validate_python(given.step)
            except ValidationError as error:
                details = error.errors(include_url=False, include_input=False)
            for detail in details:
                about = detail.get("ctx", {}).get("about")
                path = _path_of(detail)
                if about:
                    base = path[:-1] if "field" in detail["ctx"] else path
                    self._stand_in_for_all(given, place, base, about, detail)
                    continue
                if detail["type"] == "extra_forbidden":
                    # What it should have been is not known: it may be what is missing.
                    self._misspelt.add((*place, *path[:-1]))
                tries[path] = tries.get(path, 0) + 1
                value = _STAND_INS.get(detail["type"], _ABSENT)
                given.put(path, value if tries[path] <= _MOST_TRIES else _ABSENT)
                self._note(place, path)
        return None

    def _stand_in_for_all(
        self,
        given: _Patched,
        place: Place,
        base: Place,
        about: Sequence[str],
        detail: ErrorDetails,
    ) -> None:
        """Let several fields that contradict each other do so no more, and tell it if it is new."""
        whole = (*place, *base)
        problem = problem_of({**detail, "loc": (*place, *detail["loc"])}, self._document)
        if (
            (problem.error_type, problem.path) not in self._told
            and self.unread(whole).isdisjoint(about)
            and whole not in self._misspelt
        ):
            self.problems += self.told([problem])
        for name in about:
            given.put((*base, name), _ABSENT)
        if len(about) > 1:
            given.put((*base, about[0]), _NAME)
        self._note(place, *((*base, name) for name in about))

    def _note(self, place: Place, *paths: Place) -> None:
        for path in paths:
            whole = (*place, *path)
            self._places.add(json_pointer(whole))
            for length in range(len(place), len(whole)):
                self._unread.setdefault(whole[:length], set()).add(whole[length])


def list_in(holder: Any, key: str) -> Sequence[Any]:
    """Return a list as it is written in a document, or in a part of one; empty where none is."""
    value = holder.get(key) if isinstance(holder, Mapping) else None
    return value if isinstance(value, list | tuple) else ()


def _path_of(detail: ErrorDetails) -> Place:
    """Return the keys that lead to an error from its step on."""
    within = place_of_error({**detail, "loc": ("steps", 0, *detail["loc"])})
    return tuple(within[2:])


class _Patched:
    """A step of which places are changed; what is on the way there is copied, and nothing else."""

    def __init__(self, step: dict[str, Any]) -> None:
        self.step = {**step}
        self._copied: set[Place] = {()}

    def put(self, path: Place, value: Any) -> None:
        """Put a value at a place; nothing: without its key, or the whole list it stands in."""
        holder: Any = self.step
        with suppress(KeyError, IndexError, TypeError):
            for length, key in enumerate(path[:-1], start=1):
                if path[:length] not in self._copied:
                    holder[key] = copy(holder[key])
                    self._copied.add(path[:length])
                holder = holder[key]
            if value is not _ABSENT:
                holder[path[-1]] = value
            elif isinstance(holder, dict):
                holder.pop(path[-1], None)
            else:
                self.put(path[:-1], _ABSENT)
                return
            self._copied.discard(path)
