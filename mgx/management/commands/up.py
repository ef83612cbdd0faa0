import os
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from mgx.checks import STARTING


class Command(BaseCommand):
    help = (
        "Runs web server and engine under one supervisor, which replaces whatever of it dies or "
        "hangs. Ctrl-C stops everything."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", default=8000, type=int, help="port to listen on")
        parser.add_argument(
            "--migrate", action="store_true", help="bring the database up to date first"
        )
        parser.add_argument(
            "--demo", action="store_true", help="make the demo workspace and tell about it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.check(tags=STARTING, databases=["default"])
        if options["migrate"]:
            call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
        elif self._is_behind():
            raise CommandError("The database is not up to date. First run: manage.py migrate")
        connection.close()
        path = [str(settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        os.environ.setdefault("MGX_URL", f"http://{options['host']}:{options['port']}")
        command = [
            *(sys.executable, "-m", "mgx.supervisor"),
            *("--host", options["host"], "--port", str(options["port"])),
            *("--drain-seconds", str(settings.MGX_DRAIN_SECONDS)),
            *(["--demo"] if options["demo"] else []),
        ]
        sys.stdout.flush()
        # The supervisor takes this process's place: it needs none of what Django has loaded.
        os.execv(sys.executable, command)

    def _is_behind(self) -> bool:
        executor = MigrationExecutor(connection)
        return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
