"""What publishing a draft would change, step by step, as lines to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.core.differences import MISSING, Change, differences
from workflows.pages.differences import Difference, Marker, Part, shortened


@dataclass(frozen=True, slots=True)
class StepChange:
    """A step that the draft adds, changes, moves or removes; "" names the workflow itself."""

    name: str
    kind: str
    differences: list[Difference] = field(default_factory=list)


def find_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[StepChange]:
    """Compare two definitions, the workflow's own fields first."""
    if before == after:
        return []
    found: dict[str, StepChange] = {}
    marker = Marker()
    for change in differences(before, after):
        kind = change.kind if not change.path else "changed"
        step = found.setdefault(change.step_name, StepChange(change.step_name, kind))
        step.differences.append(_difference(change, marker))
    return list(found.values())


def _difference(change: Change, marker: Marker) -> Difference:
    if change.path:
        before = MISSING if change.kind == "added" else change.before
        after = MISSING if change.kind == "removed" else change.after
        return marker.difference(before, after, change.path)
    if change.kind == "moved":
        return Difference("", _line(_place(change.before)), _line(_place(change.after)))
    before, after = (_summary(side) if side else "" for side in (change.before, change.after))
    return Difference("", _line(before), _line(after))


def _line(text: str) -> list[Part]:
    return [Part(shortened(text), False)] if text else []


def _place(place: Mapping[str, str]) -> str:
    block = f"in {place['block']}" if place["block"] else "in no block"
    return f"{block}, after {place['after']}" if place["after"] else f"{block}, first"


def _summary(step: Mapping[str, Any]) -> str:
    """A step in one line: its type, what it comes after, how often it is tried again."""
    config = step.get("config") or {}
    after = ", ".join(step.get("depends_on_steps") or ())
    retries = step.get("max_retries")
    words = [
        " ".join(filter(None, (step.get("step_type"), config.get("task")))),
        f"after {after}" if after else "",
        f"{retries} retries" if retries else "",
    ]
    return ", ".join(filter(None, words))
