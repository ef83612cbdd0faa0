"""Who is alive: drivers register, send heartbeats, and lose what they hold when they stop.

There is one lease a driver, not one a step. A driver whose heartbeat is older than
``MGX_LEASE_SECONDS``, or whose process is gone from this machine, is fenced: marked, and its
executions made runnable again, in one transaction. Every turn of a driver first locks its own
row and stops if it is fenced, so a process that was only asleep cannot write any more.
"""

import logging
import os
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from workflows.bulk import Query, Rows, as_moment, now_sql, select, wake_engine
from workflows.clock import database_now
from workflows.core.ids import uuid7
from workflows.models import EngineDriver, WorkflowExecution

logger = logging.getLogger("workflows.engine")


class Fenced(Exception):
    """Somebody else has this driver's executions now."""


def register() -> UUID:
    """Write the row of a new driver in this process and return its id."""
    now = database_now()
    return EngineDriver.objects.create(
        id=uuid7(),
        host=socket.gethostname(),
        pid=os.getpid(),
        process=process_key(os.getpid()),
        started_at=now,
        heartbeat_at=now,
    ).id


class Held(NamedTuple):
    """What a turn begins with: the database's time, the rows that were locked, and whether any
    workspace limits what runs at once."""

    now: datetime
    rows: Rows
    is_limited: bool


def hold(driver_id: UUID, lock: Query) -> Held:
    """Lock the driver's row for the rest of the transaction, then the rows of the query ``lock``.

    The rows are (id, wake_at, is_paused) of what ``lock`` found. Raises Fenced if the driver has
    lost what it holds.
    """
    sql, parameters = lock
    rows = select(
        f"WITH driver AS (SELECT fenced_at FROM {_TABLE} WHERE id = %s FOR SHARE),"
        f" locked AS ({sql})"
        f" SELECT driver.fenced_at, {now_sql()}, EXISTS (SELECT 1 FROM workflows_queuelimit),"
        " locked.id, locked.wake_at,"
        " locked.is_paused"
        " FROM driver LEFT JOIN locked ON true",
        driver_id, *parameters,
    )  # fmt: skip
    if not rows or rows[0][0] is not None:
        raise Fenced
    now = as_moment(rows[0][1]) or database_now()
    return Held(now, [row[3:] for row in rows if row[3] is not None], bool(rows[0][2]))


def heartbeat(driver_id: UUID) -> None:
    """Say that the driver is alive. Raises Fenced if it is too late for that."""
    alive = EngineDriver.objects.filter(id=driver_id, fenced_at__isnull=True)
    if not alive.update(heartbeat_at=database_now()):
        raise Fenced


def count_live() -> int:
    """Return how many drivers share the work now."""
    return _live().count()


def sign_off(driver_id: UUID) -> None:
    """Note that the driver has stopped, and free what it could not hand back.

    After a fault it may not know what that is; the rows do.
    """
    now = database_now()
    with transaction.atomic():
        EngineDriver.objects.filter(id=driver_id).update(stopped_at=now)
        _free(driver_id, now)


def take_over_from_the_dead() -> int:
    """Fence every driver that is gone and free its executions; return how many drivers."""
    now = database_now()
    late = now - timedelta(seconds=settings.MGX_LEASE_SECONDS)
    gone = [
        driver.id for driver in _live() if driver.heartbeat_at < late or is_gone(driver.process)
    ]
    for driver_id in gone:
        with transaction.atomic():
            fence(driver_id, now)
    return len(gone)


def fence(driver_id: UUID, now: datetime) -> None:
    """Take away what a driver holds. Call it inside a transaction."""
    fenced = EngineDriver.objects.filter(id=driver_id, fenced_at__isnull=True)
    if not fenced.update(fenced_at=now):
        return
    freed = _free(driver_id, now)
    logger.warning("Driver %s is gone; its %d executions are free again", driver_id, freed)


def _free(driver_id: UUID, now: datetime) -> int:
    held = WorkflowExecution.objects.filter(driver_id=driver_id).order_by("id")
    ids = list(held.select_for_update().values_list("id", flat=True))
    if ids:
        WorkflowExecution.objects.filter(id__in=ids).update(driver=None, wake_at=now)
        wake_engine()
    return len(ids)


def forget_old_drivers() -> None:
    """Delete the rows of drivers that ended a day ago."""
    a_day_ago = database_now() - timedelta(days=1)
    EngineDriver.objects.filter(
        Q(stopped_at__lt=a_day_ago) | Q(fenced_at__lt=a_day_ago), executions__isnull=True
    ).delete()


def process_key(pid: int) -> str:
    """Return what names a process on this machine for as long as it lives, "" where unknown.

    Boot, PID namespace, PID and start time: a PID alone is used again.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = os.readlink(f"/proc/{pid}/ns/pid")
        # The second field may hold spaces and brackets; what follows the last one is regular.
        state, *rest = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else f"{boot} {namespace} {pid} {rest[18]}"


def is_gone(key: str) -> bool:
    """Tell whether the process named ``key`` ran on this machine and has ended."""
    here = process_key(os.getpid()).split()
    if not key or not here or key.split()[:2] != here[:2]:
        return False
    return process_key(int(key.split()[2])) != key


def _live() -> QuerySet[EngineDriver]:
    return EngineDriver.objects.filter(fenced_at__isnull=True, stopped_at__isnull=True)


_TABLE = EngineDriver._meta.db_table
