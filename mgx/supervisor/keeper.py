"""The supervisor's loop: wait for a word, a death or a signal; then tend to each child."""

import logging
import os
import selectors
import signal
import time
from collections.abc import Sequence
from types import FrameType

from mgx.supervisor.child import Child

logger = logging.getLogger("mgx.supervisor")

_TICK_SECONDS = 1.0


class Supervisor:
    """Keeps ``children`` alive until it is told to stop by SIGTERM, SIGINT or SIGHUP.

    ``grace_seconds``: how long they have to stop by themselves; a second signal cuts it short.
    """

    def __init__(self, children: Sequence[Child], *, grace_seconds: float) -> None:
        self._children = children
        self._grace_seconds = grace_seconds
        self._signals = 0
        self._selector = selectors.DefaultSelector()
        for child in children:
            self._selector.register(child.ears, selectors.EVENT_READ, child)

    def run(self) -> None:
        """Return when everything has stopped."""
        self._listen_to_signals()
        try:
            while not self._signals:
                for child in self._children:
                    child.tend()
                self._wait(_TICK_SECONDS)
            self._stop()
        finally:
            for child in self._children:
                child.kill()

    def _stop(self) -> None:
        logger.info("Stopping; running steps have up to %.0f s to finish", self._grace_seconds)
        for child in self._children:
            child.ask_to_stop()
        deadline = time.monotonic() + self._grace_seconds
        while any(child.is_running for child in self._children):
            left = deadline - time.monotonic()
            if left <= 0 or self._signals > 1:
                logger.warning("Stopped the hard way; what was running will be run again")
                return
            self._wait(min(left, _TICK_SECONDS))

    def _wait(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, Child):
                key.data.hear()
            else:
                os.read(key.fd, 1024)

    def _listen_to_signals(self) -> None:
        """Make signals, SIGCHLD among them, end the wait of the selector."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._selector.register(reader, selectors.EVENT_READ)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._count)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _count(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
