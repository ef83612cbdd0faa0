"""``manage.py prune``: delete what has been kept for long enough, now instead of tonight."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from workflows.housekeeping import run
from workflows.services.retention import BATCH


class Command(BaseCommand):
    help = "Delete old runs and events as the workspaces' retention says, and old idempotency keys."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--batch", type=int, default=BATCH, help=f"rows a transaction, more or less ({BATCH})"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["batch"] < 1:
            raise CommandError("--batch is at least 1")
        pruned = run(options["batch"])
        self.stdout.write(
            f"Deleted {pruned.executions} runs, {pruned.events} events,"
            f" {pruned.idempotency_keys} idempotency keys."
            + "".join(f" Besides, {count} {name}." for name, count in pruned.swept.items())
        )
