"""How far attempts are, as they tell it while they run: a message at a time, for people to see.

Any thread may tell; the writer takes what is due with one of its turns. Of each attempt one message
waits at most, the latest, and nothing waits for it: what a crash or the attempt's own end overtakes
is never told.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from workflows.engine.run import Attempt
from workflows.handlers import StepContext

MAX_MESSAGE: Final = 300
_MAX_DATA: Final = 10
_MAX_TEXT: Final = 300
#: Larger whole numbers are not the same to every reader of JSON.
_MAX_NUMBER: Final = 2**53
#: Seconds between two messages of an attempt: the longer it runs, the fewer.
_SECONDS: Final = 1.0
_SHARE_OF_AGE: Final = 1 / 60
#: Seconds between two turns that write messages, of however many attempts.
_REST_SECONDS: Final = 0.1
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Told:
    """What an attempt told last. ``data``: numbers, texts, truth values."""

    attempt: Attempt
    step_name: str
    message: str
    data: dict[str, Any]


@dataclass(slots=True)
class _Place:
    """An attempt that runs. ``due``: when it may tell again."""

    began: float
    due: float
    told: Told | None = None


class Progress:
    """What the attempts of one process tell. ``wake`` is called, from the thread that tells, when
    something new waits."""

    def __init__(
        self, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wake = wake
        self._clock = clock
        self._lock = threading.Lock()
        self._places: dict[Attempt, _Place] = {}
        self._waiting: dict[Attempt, _Place] = {}
        self._rests_until = 0.0

    def open(self, context: StepContext) -> None:
        """Let an attempt tell, by its context, until it is closed."""
        attempt = (context.execution_id, context.step_execution_id, context.attempt)
        name, now = context.name, self._clock()
        with self._lock:
            self._places[attempt] = _Place(began=now, due=now)

        def tell(message: str, data: Mapping[str, Any]) -> None:
            self._tell(Told(attempt, name, storable(message, MAX_MESSAGE), _plain(data)))

        context.progress = tell

    def close(self, attempt: Attempt) -> None:
        """Forget an attempt, and what it has told that was not taken yet."""
        with self._lock:
            self._places.pop(attempt, None)
            self._waiting.pop(attempt, None)

    def close_all(self) -> None:
        """Forget all attempts."""
        with self._lock:
            self._places.clear()
            self._waiting.clear()

    def seconds_left(self) -> float | None:
        """Return the seconds until there is something to take; None if nothing waits."""
        with self._lock:
            if not self._waiting:
                return None
            due = min(place.due for place in self._waiting.values())
            return max(0.0, max(due, self._rests_until) - self._clock())

    def take(self) -> list[Told]:
        """Return what is due, each message once."""
        with self._lock:
            now = self._clock()
            if not self._waiting or now < self._rests_until:
                return []
            due = [key for key, place in self._waiting.items() if place.due <= now][:_AT_ONCE]
            return [told for key in due if (told := self._taken(key, now))]

    def _taken(self, attempt: Attempt, now: float) -> Told | None:
        place = self._waiting.pop(attempt)
        told, place.told = place.told, None
        place.due = now + max(_SECONDS, (now - place.began) * _SHARE_OF_AGE)
        self._rests_until = now + _REST_SECONDS
        return told

    def _tell(self, told: Told) -> None:
        with self._lock:
            place = self._places.get(told.attempt)
            if place is None:
                return
            is_new, place.told = place.told is None, told
            self._waiting[told.attempt] = place
        if is_new:
            self._wake()


def storable(text: object, most: int) -> str:
    """Return the beginning of a text, as databases take it."""
    start = str(text)[:most].replace("\0", "�")
    return start.encode("utf-8", "replace").decode("utf-8")


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is plain of the data, and not too much of it."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        if len(found) == _MAX_DATA:
            break
        if isinstance(value, str):
            found[storable(name, 100)] = storable(value, _MAX_TEXT)
        elif isinstance(value, bool) or _is_number(value):
            found[storable(name, 100)] = value
    return found


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) <= _MAX_NUMBER
