"""One child of the supervisor: started, listened to, replaced."""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from mgx.supervisor.lifeline import BEAT_VARIABLE, PARENT_VARIABLE

logger = logging.getLogger("mgx.supervisor")

#: Seconds that a child must have lived for its end to count as the first.
_STEADY_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 15.0


class Child:
    """A process in a group of its own, and what is known of it.

    ``silence_seconds``: how long it may say nothing before it is replaced; it is also the time
    that it has for its start. A child that is not ``kept`` runs once.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        silence_seconds: float = float("inf"),
        kept: bool = True,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self._command = command
        self._silence_seconds = silence_seconds
        self._is_kept = kept
        self._pass_fds = pass_fds
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = self._heard_at = 0.0
        self._failures = 0
        self._start_at = 0.0
        self.ears, self._mouth = os.pipe()
        os.set_blocking(self.ears, False)
        os.set_blocking(self._mouth, False)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def hear(self) -> None:
        """Take what it said."""
        with suppress(BlockingIOError):
            while os.read(self.ears, 1024):
                self._heard_at = time.monotonic()

    def tend(self) -> None:
        """Start it if it is due; replace it if it has ended or fallen silent."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._start_at:
                self._start(now)
        elif self._process.poll() is not None:
            self._bury(now, f"ended ({_how(self._process.returncode)})")
        elif now - self._heard_at > self._silence_seconds:
            self._bury(now, f"said nothing for {now - self._heard_at:.0f} s")

    def ask_to_stop(self) -> None:
        """Send its leader, and nobody else of its group, a SIGTERM."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it with its whole group, at once."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _start(self, now: float) -> None:
        environment = os.environ | {
            PARENT_VARIABLE: str(os.getpid()),
            BEAT_VARIABLE: str(self._mouth),
        }
        self._process = subprocess.Popen(
            self._command,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self._mouth, *self._pass_fds),
        )
        self._started_at = self._heard_at = now
        logger.debug("%s started as %d", self.name, self._process.pid)

    def _bury(self, now: float, what: str) -> None:
        self.kill()
        self._process = None
        if not self._is_kept:
            self._start_at = float("inf")
            return
        self._failures = 0 if now - self._started_at > _STEADY_SECONDS else self._failures + 1
        pause = min(0.25 * 2**self._failures, _LONGEST_PAUSE_SECONDS) if self._failures else 0.0
        self._start_at = now + pause
        logger.warning("%s %s; starting it again in %.1f s", self.name, what, pause)


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
