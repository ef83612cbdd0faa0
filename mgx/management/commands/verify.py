import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from mgx.verify import CHECKS, find_violations, one_moment

_COUNTED = {
    "workflows_workflowexecution": "runs",
    "workflows_workflowstepexecution": "steps",
    "workflow_step_approvals": "requests",
    "workflows_event": "events",
}


class Command(BaseCommand):
    help = (
        "Checks what must hold in the database, also while the engine works: one line for each "
        "violation, and exit code 1 if there is any."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        begun = time.monotonic()
        found = 0
        with one_moment() as query:
            counts = []
            for table, noun in _COUNTED.items():
                [(count,)] = query(f"SELECT count(*) FROM {table}")
                counts.append(f"{count:,} {noun}")
            # A driver that died is found out after a lease, and its runs go on within another.
            silence = 2 * settings.MGX_LEASE_SECONDS
            for violation in find_violations(query, longest_silence_seconds=silence):
                found += 1
                self.stdout.write(violation)
        if found:
            raise CommandError(f"{found} violation{'s' if found > 1 else ''}")
        seconds = time.monotonic() - begun
        self.stdout.write(f"ok: {len(CHECKS) + 1} checks of {', '.join(counts)} in {seconds:.1f} s")
