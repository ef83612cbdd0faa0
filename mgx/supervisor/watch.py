"""Is this cluster well? Three signs of life, and how long each may fail to come.

What the database's outage alone explains is nobody's fault: nothing is judged while it is away.
"""

import os
import socket
import time
from datetime import timedelta

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django_q.conf import Conf

from mgx.supervisor.pulse import Pulse
from workflows.clock import database_now
from workflows.models import EngineDriver

_PING_EVERY_SECONDS = 1.0
_PING_LOST_SECONDS = 10.0
_ROUND_LOST_SECONDS = 10.0
_DRIVERS_EVERY_SECONDS = 5.0


class Watch:
    """Asked about twice a second by the cluster's main process, for the first reason to give up."""

    def __init__(self, pulse: Pulse) -> None:
        now = time.monotonic()
        self._pulse = pulse
        self._answers = 0
        self._asked_at = now
        #: Until when the queue, and the drivers, are known to be well or excused.
        self._queue_well_at = now
        self._drivers_well_at = now
        self._drivers_looked_at = now

    def silence(self) -> str | None:
        """Return what has been silent for too long, or None."""
        now = time.monotonic()
        return self._sentinel(now) or self._queue(now) or self._drivers(now)

    def _sentinel(self, now: float) -> str | None:
        if now - self._pulse.guarded_at > _ROUND_LOST_SECONDS:
            return "the sentinel goes no rounds"
        return None

    def _queue(self, now: float) -> str | None:
        if self._pulse.answers != self._answers or self._pulse.count_busy() >= Conf.WORKERS:
            # Workers that are all busy cannot answer; django-q2 ends their tasks by its timeout.
            self._answers = self._pulse.answers
            self._queue_well_at = now
        if now - self._asked_at >= _PING_EVERY_SECONDS and self._pulse.is_answered:
            self._pulse.ask()
            self._asked_at = now
        if now - self._queue_well_at <= _PING_LOST_SECONDS:
            return None
        if not _is_database_reached():
            self._queue_well_at = now
            return None
        return "a ping through the queue does not come back"

    def _drivers(self, now: float) -> str | None:
        if now - self._drivers_looked_at < _DRIVERS_EVERY_SECONDS:
            return None
        self._drivers_looked_at = now
        try:
            live = _count_live_drivers()
        except DatabaseError:
            connection.close()
            live = Conf.WORKERS
        if live >= Conf.WORKERS:
            self._drivers_well_at = now
        # Whoever is only late is fenced after a lease, and gets a little more to come back.
        if now - self._drivers_well_at <= settings.MGX_LEASE_SECONDS + 10:
            return None
        return f"{live} of {Conf.WORKERS} drivers have a heartbeat"


def _count_live_drivers() -> int:
    """Return how many processes of this group have a driver that is heard of."""
    drivers = EngineDriver.objects.filter(
        host=socket.gethostname(),
        fenced_at__isnull=True,
        stopped_at__isnull=True,
        heartbeat_at__gt=database_now() - timedelta(seconds=settings.MGX_LEASE_SECONDS),
    )
    return sum(1 for pid in set(drivers.values_list("pid", flat=True)) if _is_of_this_group(pid))


def _is_of_this_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == os.getpgid(0)
    except ProcessLookupError:
        return False


def _is_database_reached() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        connection.close()
        return False
    return True
