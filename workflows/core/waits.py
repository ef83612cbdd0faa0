"""What a step of type `wait` waits for: how its `seconds` and its `until` are read.

Both may come from a reference. What is written out is checked at save, what comes from a reference
when the step begins.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from workflows.core.errors import ExpressionError
from workflows.core.parts import MAX_SECONDS
from workflows.core.steps import WaitStep


def problems_of_wait(step: WaitStep) -> list[tuple[str, str, str]]:
    """Return what is wrong with a wait as it is written: (field of `config`, error type, message).

    A reference has no value yet, and is passed over.
    """
    problems = []
    for field, read in (("seconds", seconds_of), ("until", moment_of)):
        value = getattr(step.config, field)
        if value is None or _is_reference(value):
            continue
        try:
            read(value)
        except ExpressionError as error:
            kind = "wrong_type" if field == "seconds" else "invalid_moment"
            problems.append((field, kind, f"In the step '{step.name}', {error.message}"))
    if step.config.event is None and step.config.on_timeout != "fail":
        message = f"In the step '{step.name}', on_timeout is for a wait for an event"
        problems.append(("on_timeout", "not_supported", message))
    return problems


def due_at(
    settings: Mapping[str, Any], now: datetime, timeout_seconds: int | None
) -> datetime | None:
    """Return when a wait goes on by itself; None if only its event ends it.

    Args:
        settings: `seconds`, `until` or `event`, with their references put in.
        timeout_seconds: how long an event may take.

    Raises:
        ExpressionError: what a reference brought is no such time.
    """
    if "seconds" in settings:
        return now + timedelta(seconds=seconds_of(settings["seconds"]))
    if "until" in settings:
        return moment_of(settings["until"])
    return now + timedelta(seconds=timeout_seconds) if timeout_seconds else None


def seconds_of(value: object) -> float:
    """Read a number of seconds. Raises ExpressionError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"seconds must be a number, not {_shown(value)}")
    if not 0 <= value <= MAX_SECONDS:
        raise ExpressionError(f"seconds must be from 0 to {MAX_SECONDS}, not {_shown(value)}")
    return float(value)


def moment_of(value: object) -> datetime:
    """Read a moment, ISO 8601 with its offset, and return it in UTC. Raises ExpressionError."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise ExpressionError(
            f"until must be a moment like 2030-01-31T09:00:00+01:00, not {_shown(value)}"
        )
    if moment.tzinfo is None:
        raise ExpressionError(f"until needs an offset, as in {_shown(value)[:40]}+01:00 or …Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ExpressionError(f"until is out of range: {_shown(value)}") from None


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and ("${" in value or value.startswith(("steps.", "steps[")))


def _shown(value: object) -> str:
    """Return a value as a message shows it: bounded, its type where it is no plain one."""
    if isinstance(value, str):
        return f"'{value[:60]}'"
    return str(value)[:60] if isinstance(value, int | float) else f"a {type(value).__name__}"
