"""Going back to an earlier release: refused while there is anything to lose."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from mgx.downgrades import refuse_downgrade
from workflows.models import Workspace

pytestmark = pytest.mark.django_db


def test_a_used_database_keeps_its_migrations(workspace: Workspace) -> None:
    before = MigrationLoader(connection).applied_migrations
    with pytest.raises(CommandError, match="restore the backup"):
        call_command("migrate", "workflows", "0003", verbosity=0)
    assert MigrationLoader(connection).applied_migrations.keys() == before.keys()
    assert Workspace.objects.get() == workspace


def test_an_empty_one_may_go_back() -> None:
    migration = MigrationLoader(connection).get_migration_by_prefix("workflows", "0004")
    refuse_downgrade([(migration, True)], using="default")


def test_forward_is_never_refused(workspace: Workspace) -> None:
    migration = MigrationLoader(connection).get_migration_by_prefix("workflows", "0004")
    refuse_downgrade([(migration, False)], using="default")
