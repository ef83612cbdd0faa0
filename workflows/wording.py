"""The words and looks that every page shares: statuses, risks, durations, distances, moments.

Status is always a colour (its tone), an icon and a word. Nothing here knows Django, and
`mgx/static/mgx/js/time.js` says moments and distances in the same words.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, NamedTuple

MINUTE: Final = 60
HOUR: Final = 3_600
DAY: Final = 86_400


class Look(NamedTuple):
    """How a status is shown: `tone` names its colours in the style sheet."""

    tone: str
    icon: str
    word: str


NEUTRAL: Final = "neutral"

STATUS_LOOKS: Final[dict[str, Look]] = {
    "pending": Look(NEUTRAL, "dashes", "Pending"),
    "running": Look("running", "arc", "Running"),
    "retrying": Look("retrying", "loop", "Retrying"),
    "waiting": Look("waiting", "clock", "Waiting"),
    "paused": Look("paused", "bars", "Paused"),
    "completed": Look("completed", "tick", "Completed"),
    "failed": Look("failed", "cross", "Failed"),
    "skipped": Look(NEUTRAL, "arrows", "Skipped"),
    "timeout": Look("timeout", "triangle", "Timed out"),
    "cancelled": Look(NEUTRAL, "slash", "Cancelled"),
    # Of requests and decisions
    "approved": Look("completed", "tick", "Approved"),
    "rejected": Look("failed", "cross", "Rejected"),
    "request_changes": Look("retrying", "loop", "Changes requested"),
    # Of agents
    "idle": Look(NEUTRAL, "ring", "Idle"),
    "initializing": Look("running", "arc", "Starting"),
    "active": Look("completed", "tick", "Active"),
    "busy": Look("running", "arc", "Busy"),
    "error": Look("failed", "cross", "Error"),
    "offline": Look(NEUTRAL, "slash", "Offline"),
    "disabled": Look(NEUTRAL, "bars", "Disabled"),
    # Of steps in a draft
    "added": Look("completed", "plus", "Added"),
    "changed": Look("waiting", "pencil", "Changed"),
}

APPROVAL_WAITING: Final = Look("waiting", "clock", "Waiting for approval")

RISK_LOOKS: Final[dict[str, Look]] = {
    "low": Look(NEUTRAL, "risk-low", "Low"),
    "medium": Look("waiting", "risk-medium", "Medium"),
    "high": Look("failed", "risk-high", "High"),
}

#: What a variable of each type holds, as a form says it.
DATA_TYPE_WORDS: Final[dict[str, str]] = {
    "string": "text",
    "int": "whole number",
    "float": "number",
    "bool": "yes or no",
    "json": "JSON",
}

#: Through what a person starts a run.
DOOR_WORDS: Final[dict[str, str]] = {
    "page": "pages",
    "api": "API",
    "admin": "admin",
}
#: What starts a run in somebody's name, without them.
STARTER_WORDS: Final[dict[str, str]] = {
    "schedule": "schedule",
    "workflow": "another run",
}

#: The tone of the status that an event brings; what is missing here is neutral.
EVENT_TONES: Final[dict[str, str]] = {
    "workflow_started": "running",
    "workflow_completed": "completed",
    "workflow_failed": "failed",
    "workflow_paused": "paused",
    "workflow_resumed": "running",
    "workflow_retried": "retrying",
    "step_started": "running",
    "step_progress": "running",
    "step_completed": "completed",
    "step_failed": "failed",
    "step_retrying": "retrying",
    "approval_required": "waiting",
    "approval_granted": "completed",
    "approval_rejected": "failed",
    "changes_requested": "retrying",
    "approval_timeout": "timeout",
    "agent_activity": "running",
}


def status_look(status: str) -> Look:
    """The look of a status; one that is not known is shown by its own name."""
    known = STATUS_LOOKS.get(status)
    return known or Look(NEUTRAL, "ring", status.replace("_", " ").capitalize())


def approval_look(status: str) -> Look:
    """The look of a request's status: an open one waits for people."""
    return APPROVAL_WAITING if status == "pending" else status_look(status)


def say_starter(door: str, name: str) -> str:
    """Who or what started a run: `Mei Tan`, `schedule, for Mei Tan`, `another run`, `MGX`.

    Args:
        door: through what it was started.
        name: in whose name; "" where nobody is known, or any more.
    """
    if starter := STARTER_WORDS.get(door):
        return f"{starter}, for {name}" if name else starter
    if name:
        return name
    return f"somebody through the {DOOR_WORDS[door]}" if door in DOOR_WORDS else "MGX"


def say_duration(seconds: float) -> str:
    """A length of time in at most two units: `0.4 s`, `41 s`, `3 min 12 s`, `1 h 05 min`."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "0 s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def say_span(seconds: int) -> str:
    """A configured length of time in words: `30 minutes`, `1 hour`, `1 hour 30 minutes`."""
    parts = []
    for size, word in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:,} {word}" + ("s" if count != 1 else ""))
    return " ".join(parts[:2]) or "0 seconds"


def say_distance(moment: datetime, now: datetime) -> str:
    """How far a moment is from now: `in 42 min`, `18 min ago`, `just now`, `in 3 days`."""
    seconds = (moment - now).total_seconds()
    size = abs(seconds)
    if size < 45:
        return "in a moment" if seconds > 0 else "just now"
    if size < 59.5 * MINUTE:
        words = f"{max(1, round(size / MINUTE))} min"
    elif size < 23.5 * HOUR:
        words = f"{max(1, round(size / HOUR))} h"
    else:
        days = max(1, round(size / DAY))
        words = f"{days:,} day" + ("s" if days != 1 else "")
    return f"in {words}" if seconds > 0 else f"{words} ago"


def say_moment(moment: datetime, now: datetime) -> str:
    """A moment by the clock of its own zone: `today at 15:42`, `Tue 14 Oct at 09:00`.

    Args:
        moment: an aware time, already in the reader's zone.
        now: the present, in any zone.
    """
    return f"{_say_day(moment, now)} at {moment:%H:%M}"


def say_short_moment(moment: datetime, now: datetime) -> str:
    """The same for narrow columns: `today, 15:42`, `Tue 14 Oct, 09:00`."""
    return f"{_say_day(moment, now)}, {moment:%H:%M}"


def _say_day(moment: datetime, now: datetime) -> str:
    today = now.astimezone(moment.tzinfo).date()
    near = {today: "today", today + timedelta(1): "tomorrow", today - timedelta(1): "yesterday"}
    day = moment.date()
    if day in near:
        return near[day]
    if day.year == today.year:
        return f"{moment:%a} {moment.day} {moment:%b}"
    return f"{moment.day} {moment:%b %Y}"
