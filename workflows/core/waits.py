"""What a step of type `wait` waits for: how its `seconds`, `until` and `event` are read.

Each may come from a reference. What is written out is checked at save, what comes from a reference
when the step begins; that is kept in the `input_data` of its row.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workflows.core.errors import ExpressionError
from workflows.core.names import STORED, Name
from workflows.core.parts import MAX_SECONDS
from workflows.core.steps import WaitStep

_event_name: TypeAdapter[str] = TypeAdapter(Name)


def problems_of_wait(step: WaitStep) -> list[tuple[str, str, str]]:
    """Return what is wrong with a wait as it is written: (field of `config`, error type, message).

    A reference has no value yet, and is passed over.
    """
    problems = []
    for field, read in (("seconds", seconds_of), ("until", moment_of)):
        value = getattr(step.config, field)
        if value is None or is_reference(value):
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
    refuse_unnameable(settings["event"])
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


def refuse_unnameable(event: object) -> None:
    """Raise ExpressionError for what no event can be called that is posted to a run."""
    try:
        # A version that was published earlier may have a name that is refused by now.
        _event_name.validate_python(event, strict=True, context=STORED)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ExpressionError(f"event must be a name, not {_shown(event)}: {reason}") from None


def awaited_event(event: str, input_data: Mapping[str, Any] | None) -> str:
    """Return the name of the event that a step waits for that has begun.

    Args:
        event: as the definition has it, perhaps with references.
        input_data: the step's own; it lacks the name where an earlier release began the step,
            which put nothing in.
    """
    if not is_reference(event):
        return event
    name: str = (input_data or {}).get("event", event)
    return name


def is_reference(value: object) -> bool:
    """Tell whether a text means what it brings from the run."""
    return isinstance(value, str) and ("${" in value or value.startswith(("steps.", "steps[")))


def _shown(value: object) -> str:
    """Return a value as a message shows it: bounded, its type where it is no plain one."""
    if isinstance(value, str):
        return f"'{value[:60]}'"
    return str(value)[:60] if isinstance(value, int | float) else f"a {type(value).__name__}"
