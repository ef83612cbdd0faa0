"""The steps of a run as a list: blocks with what is inside them, long ones folded."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Func, IntegerField

from workflows.core.states import TERMINAL_STEP_STATUSES, StepStatus
from workflows.pages.graphs import nested_of, repeats
from workflows.pages.run_steps import RunSteps
from workflows.services.open_steps import BLOCKS

#: A block with more steps than this inside is folded, and shows so many of them.
FOLD_ABOVE: Final = 12
FOLD_TO: Final = 8

_POSITION: Final = re.compile(r"\[(\d{1,9})\]$")
_TO_BE_SEEN: Final = frozenset({"failed", "timeout", "retrying", "waiting"})


@dataclass(slots=True)
class Entry:
    """One step in the tree.

    Attributes:
        inside: the steps of a block, in the order of its items and of the definition.
        block: the name of the block that it stands in, "" at the top.
        total, done, failed: how many steps it is, itself or inside, and how far they are.
    """

    name: str
    definition: Mapping[str, Any]
    status: str
    depth: int
    block: str = ""
    inside: list[Entry] = field(default_factory=list)
    total: int = 0
    done: int = 0
    failed: int = 0

    @property
    def counted(self) -> str:
        """How many of the steps are done."""
        return f"{self.done:,} of {self.total:,} done" if self.total else "no items"

    @property
    def progress(self) -> str:
        """How many of the steps are done, and how many failed."""
        return self.counted + (f", {self.failed:,} failed" if self.failed else "")

    @property
    def count(self) -> str:
        """How many steps stand right inside."""
        return f"{len(self.inside):,}"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the list: a step, or how many of a block's steps are folded away."""

    entry: Entry
    hidden: int = 0
    is_opened: bool = False


class _ItemCount(Func):
    """Of a mapped block's input: how many items it runs for."""

    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        template = "json_array_length(%(expressions)s, '$.for_each')"
        return self.as_sql(compiler, connection, template=template, **more)

    def as_postgresql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        template = "jsonb_array_length(%(expressions)s -> 'for_each')"
        return self.as_sql(compiler, connection, template=template, **more)


class RunTree:
    """The tree of a run's steps."""

    def __init__(self, steps: RunSteps) -> None:
        self._steps = steps
        self._positions = _positions(steps)
        self.roots = [self._entry(d, d["name"]) for d in steps.definitions.values()]
        self.by_name = {entry.name: entry for entry in _walk(self.roots)}
        self.total = sum(entry.total for entry in self.roots)
        self.done = sum(entry.done for entry in self.roots)
        self.failed = sum(entry.failed for entry in self.roots)

    def statuses(self) -> dict[str, list[str]]:
        """The statuses of all steps that one name of the definition stands for."""
        found: dict[str, list[str]] = {}
        for entry in self.by_name.values():
            found.setdefault(entry.definition["name"], []).append(entry.status)
        return found

    def count(self, block: str) -> int | None:
        """How often the steps of a repeating block have run or will; None: it is not known yet."""
        positions = self._positions.get(block)
        return None if positions is None else len(positions)

    def lines(self, opened: Collection[str], chosen: str) -> list[Line]:
        """The lines to show: long blocks folded, except those opened or around the chosen step."""
        return list(self._lines(self.roots, None, opened, chosen))

    def _lines(
        self, entries: list[Entry], block: Entry | None, opened: Collection[str], chosen: str
    ) -> Iterator[Line]:
        shown = entries
        is_long = block is not None and len(entries) > FOLD_ABOVE
        is_opened = block is not None and block.name in opened
        if is_long and not is_opened:
            shown = self._most_telling(entries, chosen)
        for entry in shown:
            yield Line(entry)
            yield from self._lines(entry.inside, entry, opened, chosen)
        if block is not None and is_long:
            yield Line(block, len(entries) - len(shown), is_opened)

    def _most_telling(self, entries: list[Entry], chosen: str) -> list[Entry]:
        """The first of a long block, and those before all others that somebody should see."""
        seen = [e for e in entries if e.failed or e.status in _TO_BE_SEEN][:FOLD_TO]
        names = {entry.name for entry in seen}
        for entry in entries:
            if len(names) >= FOLD_TO:
                break
            names.add(entry.name)
        return [e for e in entries if e.name in names or _holds(e, chosen)]

    def _entry(
        self, definition: Mapping[str, Any], name: str, depth: int = 0, block: str = ""
    ) -> Entry:
        rows = self._steps.rows.get(name)
        status = self._steps.status(name, rows[-1] if rows else None)
        entry = Entry(name, definition, status, depth, block)
        inner = nested_of(definition)
        if not inner:
            entry.total = 1
            entry.done = int(rows is not None and status in TERMINAL_STEP_STATUSES)
            entry.done = entry.done or int(status == "skipped")
            entry.failed = int(status in ("failed", "timeout"))
            return entry
        suffix = name[len(definition["name"]) :]
        ends = [suffix]
        if repeats(definition) and name in self._positions:
            ends = [f"{suffix}[{at}]" for at in self._positions[name]]
        for end in ends:
            entry.inside += [
                self._entry(each, each["name"] + end, depth + 1, name) for each in inner
            ]
        for each in entry.inside:
            entry.total += each.total
            entry.done += each.done
            entry.failed += each.failed
        return entry


def _positions(steps: RunSteps) -> dict[str, Sequence[int]]:
    """The positions of the items or rounds of each block, by the name of the block's row.

    Those of a block that goes on are told by its input, those of any other by the rows inside: one
    that completed without any had no items.
    """
    found: dict[str, set[int]] = {}
    for rows in steps.rows.values():
        row = rows[-1]
        if row.status == StepStatus.COMPLETED and row.step_type in BLOCKS:
            found.setdefault(row.name, set())
        if row.parent and (position := _POSITION.search(row.name)):
            found.setdefault(row.parent, set()).add(int(position[1]))
    positions: dict[str, Sequence[int]] = {name: sorted(found[name]) for name in found}
    if any(repeats(step) for step in steps.every.values()):
        going_on = steps.execution.steps.filter(step_type__in=BLOCKS, status=StepStatus.RUNNING)
        for name, count in going_on.values_list("name", _ItemCount("input_data")):
            if count:
                positions[name] = range(count)
    return positions


def _walk(entries: list[Entry]) -> Iterator[Entry]:
    for entry in entries:
        yield entry
        yield from _walk(entry.inside)


def _holds(entry: Entry, name: str) -> bool:
    return bool(name) and any(each.name == name for each in _walk([entry]))
