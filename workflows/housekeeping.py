"""What is done once a day: a schedule of django-q2 calls ``run``, made by ``migrate``."""

import logging
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from workflows.clock import database_now
from workflows.engine.leases import forget_old_drivers
from workflows.services.retention import BATCH, Pruned, prune

logger = logging.getLogger("workflows.housekeeping")

SCHEDULE = "mgx housekeeping"
_AT_HOUR = 3


def run(batch: int = BATCH) -> Pruned:
    """Delete what has been kept for long enough, and the rows of drivers that are gone."""
    forget_old_drivers()
    pruned = prune(database_now(), batch)
    logger.info(
        "Deleted %d runs, %d events, %d idempotency keys, %d calls of webhooks%s",
        pruned.executions,
        pruned.events,
        pruned.idempotency_keys,
        pruned.deliveries,
        "".join(f", {count} {name}" for name, count in pruned.swept.items()),
    )
    return pruned


def call_daily(**_: Any) -> None:
    """Have django-q2 call ``run`` every night; once that is arranged, change nothing."""
    from django_q.models import Schedule

    if Schedule._meta.db_table not in connection.introspection.table_names():
        return  # its migrations were taken back
    tonight = timezone.now().replace(hour=_AT_HOUR, minute=0, second=0, microsecond=0)
    Schedule.objects.get_or_create(
        name=SCHEDULE,
        defaults={
            "func": "workflows.housekeeping.run",
            "schedule_type": Schedule.DAILY,
            "next_run": tonight + timedelta(days=1),
        },
    )
