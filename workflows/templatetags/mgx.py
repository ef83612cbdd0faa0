"""Template tags and filters of every page: icons, statuses, people, times.

Times are rendered in the reader's zone where it is known (`workflows.middleware`), else in UTC, and
said so; `time.js` then puts them into local words and keeps distances true.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from workflows.icons import ICONS, STEP_TYPE_ICONS
from workflows.wording import (
    DATA_TYPE_WORDS,
    DOOR_WORDS,
    EVENT_TONES,
    NEUTRAL,
    RISK_LOOKS,
    Look,
    approval_look,
    say_distance,
    say_duration,
    say_moment,
    say_short_moment,
    say_span,
    say_starter,
    status_look,
)

if TYPE_CHECKING:
    from workflows.models import User, WorkflowExecution, WorkflowVersion

register = template.Library()


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """An icon that decorates the words beside it."""
    return format_html(
        '<svg class="icon{}" viewBox="0 0 16 16" aria-hidden="true" focusable="false">{}</svg>',
        f" {css}" if css else "",
        mark_safe(ICONS[name]),  # noqa: S308 - a constant of workflows/icons.py
    )


@register.simple_tag
def step_type_icon(step_type: str) -> SafeString:
    """The icon of a type of step."""
    return icon(STEP_TYPE_ICONS.get(step_type, "document"))


@register.simple_tag
def status_badge(status: str, word: str = "") -> SafeString:
    """The status of a run or a step: colour, icon and word."""
    return _badge(status_look(status), word)


@register.simple_tag
def approval_badge(status: str, word: str = "") -> SafeString:
    """The status of a request, in which `pending` waits for people."""
    return _badge(approval_look(status), word)


def _badge(look: Look, word: str) -> SafeString:
    return format_html(
        '<span class="badge-status tone-{}">{}{}</span>',
        look.tone,
        icon(look.icon),
        word or look.word,
    )


@register.simple_tag
def risk_mark(risk: str, *, is_tag: bool = False) -> SafeString:
    """How much is at stake: bars and a word."""
    look = RISK_LOOKS.get(risk, RISK_LOOKS["medium"])
    return format_html(
        '<span class="risk tone-{}{}">{}{}</span>',
        look.tone,
        " is-tag" if is_tag else "",
        icon(look.icon),
        f"{look.word} risk" if is_tag else look.word,
    )


@register.simple_tag
def due_ring(share_left: float, css: str = "") -> SafeString:
    """A ring that shows how much of the time to decide is left, from 0 to 1."""
    around = 34.558  # 2π × 5.5
    return format_html(
        '<svg class="due-ring {}" viewBox="0 0 16 16" aria-hidden="true">'
        '<circle cx="8" cy="8" r="5.5"/>'
        '<circle cx="8" cy="8" r="5.5" stroke-dasharray="{} {}"/></svg>',
        css,
        f"{around * min(1.0, max(0.0, share_left)):.1f}",
        around,
    )


@register.filter
def local_time(moment: datetime | None) -> SafeString | str:
    """A moment such as `today at 15:42`."""
    return _time(moment, "long")


@register.filter
def local_capital(moment: datetime | None) -> SafeString | str:
    """A moment that begins a sentence, such as `Today at 15:42`."""
    return _time(moment, "long", is_first=True)


@register.filter
def local_short(moment: datetime | None) -> SafeString | str:
    """A moment for narrow columns, such as `today, 15:42`."""
    return _time(moment, "short")


@register.filter
def local_clock(moment: datetime | None) -> SafeString | str:
    """The time of day with seconds, such as `15:04:25`; the day is in the tooltip."""
    return _time(moment, "clock")


@register.filter
def distance(moment: datetime | None) -> SafeString | str:
    """How far away a moment is, such as `in 42 min`; it ticks."""
    return _time(moment, "distance")


def _time(moment: datetime | None, style: str, *, is_first: bool = False) -> SafeString | str:
    if moment is None:
        return "—"
    local, now = timezone.localtime(moment), timezone.now()
    zone = " UTC" if timezone.get_current_timezone_name() == "UTC" else ""
    full = f"{say_moment(local, now)}{zone}"
    words = {
        "long": full,
        "short": f"{say_short_moment(local, now)}{zone}",
        "clock": f"{local:%H:%M:%S}",
        "distance": say_distance(moment, now),
    }[style]
    return format_html(
        '<time datetime="{}" data-local="{}"{} title="{}">{}</time>',
        moment.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        style,
        SafeString(" data-capital") if is_first else "",
        f"{local:%Y-%m-%d %H:%M:%S}{zone}",
        words[:1].upper() + words[1:] if is_first else words,
    )


@register.filter
def duration(seconds: float | None) -> str:
    """A measured length of time, such as `3 min 12 s`."""
    return "—" if seconds is None else say_duration(seconds)


@register.filter
def span(seconds: int | None) -> str:
    """A configured length of time, such as `30 minutes`."""
    return "—" if seconds is None else say_span(seconds)


@register.filter
def status_word(status: str) -> str:
    """The word for a status of a run or a step."""
    return status_look(status).word


@register.filter
def approval_word(status: str) -> str:
    """The word for a request's status."""
    return approval_look(status).word


@register.filter
def starter(run: WorkflowExecution) -> str:
    """Who or what started a run, such as `Mei Tan` or `schedule, for Mei Tan`."""
    return say_starter(run.started_through, person(run.started_by) if run.started_by else "")


@register.filter
def door_word(run: WorkflowExecution) -> str:
    """Through what the person started a run who did, such as `API`; "" where nobody did."""
    return DOOR_WORDS.get(run.started_through, "") if run.started_by else ""


@register.filter
def version_word(version: WorkflowVersion) -> str:
    """A version as a name: `Version 7`."""
    return f"Version {version.number}"


@register.filter
def version_live_word(version: WorkflowVersion) -> str:
    """A version that runs start from: `Version 7 is live`."""
    return f"Version {version.number} is live"


@register.filter
def data_type_word(data_type: str) -> str:
    """What a variable holds, in plain words."""
    return DATA_TYPE_WORDS.get(data_type, data_type)


@register.filter
def run_seconds(run: WorkflowExecution) -> float | None:
    """How long an ended run took from its start, waits included."""
    if run.completed_at is None:
        return None
    return (run.completed_at - (run.started_at or run.created_at)).total_seconds()


@register.filter
def event_tone(event_type: str) -> str:
    """The tone in which an event is named: that of the status it brings."""
    return EVENT_TONES.get(event_type, NEUTRAL)


@register.filter
def person(user: User | None) -> str:
    """A person's full name, or the user name where there is none; nobody is MGX."""
    if user is None:
        return "MGX"
    return user.get_full_name() or user.get_username()


@register.filter
def initials(name: Any) -> str:
    """Two letters that stand for a name: `Dana Okafor` is `DO`."""
    words = [word for word in str(name).split() if word[:1].isalnum()]
    letters = [words[0][0], words[-1][0]] if len(words) > 1 else [*(words or ["?"])[0][:2]]
    return "".join(letters).upper()


@register.filter
def short_digest(digest: str) -> str:
    """A digest that one can compare by eye, such as `9f2c…a41e`."""
    return f"{digest[:4]}…{digest[-4:]}" if len(digest) > 8 else digest
