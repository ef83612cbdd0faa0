"""Notices when the loop stands still that runs the bodies of steps, because one of them holds it.

Nobody else would: the writer has a thread of its own, and time limits are kept by the loop itself.
"""

import asyncio
import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType

#: How often the loop is asked to answer, at most.
_LOOK_SECONDS = 1.0
#: For how long whoever asks counts as awake from one look to the next, at most.
_AWAKE_SECONDS = 2.0
_FRAMES = 5


class LoopWatch:
    """Asks the loop to answer, from another thread, and counts for how long it has not.

    Only time counts in which whoever asks was awake: a process that was stopped, or whose machine
    was, has heard nothing of its loop either.
    """

    def __init__(
        self,
        ask: Callable[[Callable[[], None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._looked_at = clock()
        self._is_answered = True
        self.silence = 0.0

    def look(self, limit: float) -> None:
        """Note for how many seconds the loop has been silent, which it may be for ``limit``."""
        if self._is_answered:
            self.silence = 0.0
        now = self._clock()
        passed = now - self._looked_at
        if passed < min(_LOOK_SECONDS, limit / 10):
            return
        awake, self._looked_at = min(passed, _AWAKE_SECONDS, limit / 3), now
        if not self._is_answered:
            self.silence += awake
            return
        self._is_answered = False
        self._ask(self._answer)

    def begin_anew(self) -> None:
        """Expect nothing any more of the loop that was asked: there is another one."""
        self._is_answered = True

    def _answer(self) -> None:
        self._is_answered = True


def holder_of(loop: asyncio.AbstractEventLoop, thread: int | None) -> tuple[str, bool]:
    """Return what a loop is at, and whether somebody debugs it. ``thread``: the one it runs in."""
    frame = sys._current_frames().get(thread or 0)
    task = asyncio.current_task(loop)
    stack = traceback.extract_stack(frame)[-_FRAMES:] if frame else []
    places = " < ".join(f"{f.filename}:{f.lineno} {f.name}" for f in reversed(stack))
    return f"{task.get_name() if task else 'no task'}, at {places}", _is_traced(frame)


def _is_traced(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_trace is not None:
            return True
        frame = frame.f_back
    return False
