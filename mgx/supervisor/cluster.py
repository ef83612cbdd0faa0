"""A django-q2 cluster that notices when it is stuck, and stops when it is asked to."""

import logging
import time
from types import FrameType

from django.conf import settings
from django.db import connections
from django_q.cluster import Cluster

from mgx.supervisor.lifeline import beat, end_forks_with_parents, end_with_supervisor
from mgx.supervisor.pulse import Pulse, PulseBroker
from mgx.supervisor.watch import Watch

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
