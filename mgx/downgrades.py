"""The way back to an earlier release: never over rows that it could not hold.

What a newer release wrote has no place in the tables of an older one, and taking its migrations
back would drop it. The way back is the backup that was made before the upgrade.
"""

from typing import Any

from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations import Migration

from workflows.models import Workspace

_OURS = ("workflows", "approvals", "agents")


def refuse_downgrade(plan: list[tuple[Migration, bool]], using: str, **_: Any) -> None:
    """Stop ``migrate`` before it takes back any of this project's migrations in a used database."""
    taken_back = [
        str(migration)
        for migration, is_backwards in plan
        if is_backwards and migration.app_label in _OURS
    ]
    if taken_back and _is_used(using):
        raise CommandError(
            f"Taking back {', '.join(taken_back)} would lose what was written since. To go back to"
            " an earlier release, restore the backup that was made before the upgrade."
        )


def _is_used(using: str) -> bool:
    tables = connections[using].introspection.table_names()
    return Workspace._meta.db_table in tables and Workspace.objects.using(using).exists()
