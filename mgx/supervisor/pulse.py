"""Signs of life that the processes of one django-q2 cluster share in memory.

A ping goes the way of every task: the pusher takes it to a worker, the worker runs it, the
monitor acknowledges it. A process that was killed while it held one of the queues' locks lets
none of them through any more, though every process that is left looks well.
"""

import os
import time
from multiprocessing import get_context
from typing import Any

from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.humanhash import uuid
from django_q.signals import post_execute_in_worker, pre_execute
from django_q.signing import SignedPackage

_PING = "ping:"
#: Workers note here by their pid that they are busy; a prime, so that neighbours never clash.
_SLOTS = 1021


class Pulse:
    """Written by one process each, read by the cluster's main one; no locks, so none to be lost."""

    def __init__(self) -> None:
        shared: Any = get_context("fork")
        self._asked = shared.RawValue("Q", 0)
        self._taken = shared.RawValue("Q", 0)
        self._answered = shared.RawValue("Q", 0)
        self._guarded_at = shared.RawValue("d", time.monotonic())
        self._busy = shared.RawArray("q", _SLOTS)
        pre_execute.connect(self._note_busy, weak=False)
        post_execute_in_worker.connect(self._note_idle, weak=False)

    def ask(self) -> None:
        """Send a ping on its way. (main)"""
        self._asked.value += 1

    @property
    def is_answered(self) -> bool:
        """Whether the newest ping that was taken, or a later one, has come back. (main)"""
        return bool(self._answered.value >= self._asked.value)

    @property
    def answers(self) -> int:
        """The number of the last ping that came back. (main)"""
        return int(self._answered.value)

    @property
    def guarded_at(self) -> float:
        """When, on the monotonic clock, the sentinel last went its round. (main)"""
        return float(self._guarded_at.value)

    def count_busy(self) -> int:
        """Return how many living workers are running a task. (main)"""
        return sum(1 for pid in self._busy if pid and _is_alive(pid))

    def take(self) -> int:
        """Return the number of a ping that waits to be taken, or 0. (pusher)"""
        asked = int(self._asked.value)
        if asked == self._taken.value:
            return 0
        self._taken.value = asked
        return asked

    def answer(self, number: int) -> None:
        """Note that a ping has come back. (monitor)"""
        self._answered.value = number

    def note_round(self) -> None:
        """Note that the sentinel looks after its processes. (sentinel)"""
        self._guarded_at.value = time.monotonic()

    def _note_busy(self, **_: object) -> None:
        self._busy[os.getpid() % _SLOTS] = os.getpid()

    def _note_idle(self, **_: object) -> None:
        self._busy[os.getpid() % _SLOTS] = 0


class PulseBroker(ORM):  # type: ignore[misc]
    """The queue in the database, plus pings that never leave this cluster."""

    def __init__(self, pulse: Pulse) -> None:
        super().__init__()
        self._pulse = pulse

    def dequeue(self) -> Any:
        """Return what the database has, or a ping if one waits."""
        if number := self._pulse.take():
            return [(f"{_PING}{number}", _package())]
        return super().dequeue()

    def acknowledge(self, task_id: Any) -> Any:
        """Note the return of a ping; delete anything else from the database."""
        if isinstance(task_id, str) and task_id.startswith(_PING):
            return self._pulse.answer(int(task_id.removeprefix(_PING)))
        return super().acknowledge(task_id)

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Take the sentinel's report as the sign of life that it is; nobody reads more of it."""
        self._pulse.note_round()


def answer_ping() -> None:
    """Do nothing: that a worker came to it is the answer."""


def _package() -> Any:
    name, identifier = uuid()
    return SignedPackage.dumps(
        {
            "id": identifier,
            "name": name,
            "func": f"{__name__}.{answer_ping.__name__}",
            "args": (),
            "kwargs": {},
            "started": timezone.now(),
            "save": False,
        }
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
