"""A django-q2 cluster that notices when it is stuck, and stops when it is asked to."""

import logging
import time
from datetime import timedelta
from types import FrameType

from django.conf import settings
from django.db import connections
from django.utils import timezone
from django_q.cluster import Cluster
from django_q.conf import Conf
from django_q.models import OrmQ

from mgx.supervisor.lifeline import beat, end_forks_with_parents, end_with_supervisor
from mgx.supervisor.pulse import Pulse, PulseBroker
from mgx.supervisor.watch import Watch
from workflows.clock import database_now
from workflows.engine.leases import is_gone
from workflows.models import EngineDriver

logger = logging.getLogger("mgx.supervisor")

_LOOK_SECONDS = 0.5
#: What stopping takes beyond the time in which running steps may finish.
_STOPPING_SECONDS = 5.0


class WatchedCluster(Cluster):  # type: ignore[misc]
    """The cluster of ``manage.py qcluster``.

    django-q2 restarts a worker that died, but not what the worker took with it: a queue's lock.
    And it stops from within its signal handler, where waiting for the lock that the interrupted
    code holds is waiting for ever. Here the handler only takes a note.
    """

    def __init__(self) -> None:
        end_with_supervisor()
        end_forks_with_parents()
        self._pulse = Pulse()
        self._is_asked_to_stop = False
        super().__init__(broker=PulseBroker(self._pulse))

    def sig_handler(self, signum: int, frame: FrameType | None) -> None:
        self._is_asked_to_stop = True

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; return 0, or 1 when the cluster was found stuck or dead.

        In either case none of its processes is left.
        """
        _keep_connections()
        release_abandoned_tasks()
        connections.close_all()  # The processes are forked now; a connection is nobody's to share.
        self.start()
        watch = Watch(self._pulse)
        while not self._is_asked_to_stop:
            if not self.sentinel.is_alive():
                logger.error("The cluster's sentinel died")
                return 1
            if reason := watch.silence():
                logger.error("The cluster is stuck: %s", reason)
                self._kill()
                return 1
            beat()
            time.sleep(_LOOK_SECONDS)
        self._drain()
        return 0

    def _drain(self) -> None:
        self.stop_event.set()
        self.sentinel.join(settings.MGX_DRAIN_SECONDS + _STOPPING_SECONDS)
        if self.sentinel.is_alive():
            logger.warning("Some tasks did not finish in time; they will be run again")
            self._kill()

    def _kill(self) -> None:
        """Kill the sentinel; all other processes of the cluster end with it."""
        self.sentinel.kill()
        self.sentinel.join()


def _keep_connections() -> None:
    """Let this cluster's processes keep their connections, and check them before use.

    django-q2 ends its turn of each poll as a web server ends a request; with a connection for
    each, an idle engine would open five a second.
    """
    for alias in connections:
        connections.settings[alias].update(CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=True)


def release_abandoned_tasks() -> None:
    """Give back to the queue what a cluster had taken from it when it died.

    Only if no other cluster is at work, whose tasks these might be; then they wait for django-q2
    to hand them out again, ``retry`` seconds after they were taken.
    """
    drivers = EngineDriver.objects.filter(fenced_at__isnull=True, stopped_at__isnull=True)
    late = database_now() - timedelta(seconds=settings.MGX_LEASE_SECONDS)
    if all(is_gone(driver.process) for driver in drivers.filter(heartbeat_at__gt=late)):
        now = timezone.now()
        OrmQ.objects.filter(key=Conf.CLUSTER_NAME, lock__gt=now).update(lock=now)
