"""``manage.py bench NAME``: one benchmark in a scratch database of its own."""

import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from inspect import signature
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from mgx.bench.scratch import scratch_database

NAMES = (
    *("commits", "chain", "latency", "gate", "concurrency"),
    *("fanout", "run", "crash", "timers", "plan", "makespan"),
    *("inbox", "sockets", "deciding", "memory", "agents"),
)
_ANY_SERVER = "postgresql://127.0.0.1:5432/postgres"


class Command(BaseCommand):
    help = "Measure one thing in a scratch database; the figures are one JSON line."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", choices=NAMES)
        parser.add_argument("--json", action="store_true", help="one JSON line (else a table)")
        parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
        parser.add_argument("--workers", type=int, default=2)
        parser.add_argument("--size", type=int, help="how many of what is measured")
        parser.add_argument("--seconds", type=float, help="how long each of these takes, if it can")
        parser.add_argument("--server", help="address of a PostgreSQL database to connect to first")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.SETTINGS_MODULE == "mgx.bench.settings":
            self._measure(options)
            return
        server = options["server"] or os.environ.get("TEST_POSTGRES_URL") or _ANY_SERVER
        with scratch_database(options["database"], server) as environment:
            command = [sys.executable, "manage.py", "bench", options["name"], "--settings"]
            command += ["mgx.bench.settings", "--database", options["database"]]
            command += ["--workers", str(options["workers"])]
            if options["json"]:
                command.append("--json")
            for option in ("size", "seconds"):
                if options[option]:
                    command += [f"--{option}", str(options[option])]
            done = subprocess.run(command, env=environment, cwd=settings.BASE_DIR, check=False)
        if done.returncode:
            raise CommandError(f"The benchmark {options['name']} failed")

    def _measure(self, options: dict[str, Any]) -> None:
        from mgx.bench.measures import MEASURES, Scene

        call_command("migrate", verbosity=0)
        workers = options["workers"]
        measure = MEASURES[options["name"]]
        chosen = {"workers": workers, "size": options["size"]}
        if options["seconds"]:
            if "seconds" not in signature(measure).parameters:
                raise CommandError(f"The benchmark {options['name']} has no --seconds to choose")
            chosen["seconds"] = options["seconds"]
        figures = measure(Scene(), **chosen)
        line = {
            "bench": options["name"],
            "database": options["database"],
            "workers": workers,
            **figures,
        }
        if options["json"]:
            self.stdout.write(json.dumps(line))
        else:
            for name, value in line.items():
                self.stdout.write(f"{name:>18}  {value}")
