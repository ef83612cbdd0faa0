"""How log lines look: text for people, or one JSON object a line for programs (``LOG_FORMAT``).

Whatever a message holds, nobody can forge a line: its line breaks and control characters are
escaped, and what follows a line by itself (a traceback) is indented. Tokens and passwords in
addresses are left out; inputs and outputs of steps are never logged.
"""

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
#: What proves who somebody is: a token of the API or another one, a password in an address.
_SECRETS = (
    (re.compile(r"mgx_[A-Za-z0-9_-]{16,}"), "mgx_…"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 …"),
    (re.compile(r"(\w://[^\s/:@]*:)[^\s/@]+@"), r"\1…@"),
)


class LoggedStep(NamedTuple):
    """The attempt at a step that a thread or a task of the event loop is working for."""

    execution_id: UUID
    step: str
    step_id: UUID
    attempt: int


_step: ContextVar[LoggedStep | None] = ContextVar("logged_step", default=None)


def log_for(step: LoggedStep) -> None:
    """Have every line that is logged from here on in this context say which step it is about."""
    _step.set(step)


class StepContextFilter(logging.Filter):
    """Notes on each record which step it is about, where one is known."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.logged_step = _step.get()
        return True


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _escape(_without_secrets(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:
        return _without_secrets(super().formatException(ei))  # type: ignore[arg-type]


class TextFormatter(_Formatter):
    """``time level logger message [execution step #attempt]``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        about = getattr(record, "logged_step", None)
        if about is None:
            return line
        return f"{line} [{about.execution_id} {_escape(about.step)} #{about.attempt}]"

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = super().format(record).splitlines()
        return "\n".join([first, *(f"    {_escape(line)}" for line in rest)])


class JsonFormatter(_Formatter):
    """``time``, ``level``, ``logger``, ``message``; and where they are known ``execution_id``,
    ``step``, ``step_id``, ``attempt`` and ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _without_secrets(record.getMessage()),
        }
        if about := getattr(record, "logged_step", None):
            line |= {
                "execution_id": str(about.execution_id),
                "step": about.step,
                "step_id": str(about.step_id),
                "attempt": about.attempt,
            }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        text = json.dumps(line, ensure_ascii=False)
        # What JSON may hold as it is can still break a line for a terminal or a program.
        return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(text: str) -> str:
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def _without_secrets(text: str) -> str:
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text
