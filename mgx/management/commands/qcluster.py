import sys
from typing import Any

from django.core.management.base import BaseCommand

from mgx.checks import STARTING


class Command(BaseCommand):
    help = "Runs the engine: a django-q2 cluster with a driver in every worker, until SIGTERM."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.check(tags=STARTING, databases=["default"])
        from mgx.supervisor.cluster import WatchedCluster

        sys.exit(WatchedCluster().run())
