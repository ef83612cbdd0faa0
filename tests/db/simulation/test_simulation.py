"""Seeded worlds in which everything goes wrong that can.

MGX_SEED repeats one of them; in the long form MGX_SEEDS says how many there are: 20,000 take
a core about three hours on SQLite."""

import logging
import os
from typing import Any

import pytest
from django.db import connection, transaction

from tests.db.engine.scenes import Scene
from tests.db.simulation.world import Simulation
from workflows.models import Workspace

pytestmark = pytest.mark.django_db

#: In groups, so that several processes share them.
GROUPS = 6
QUICK, LONG = (60, 20_000) if connection.vendor == "sqlite" else (12, 2_000)
IS_LONG = os.environ.get("MGX_CHAOS") == "long"
SEEDS = int(os.environ.get("MGX_SEEDS", LONG)) if IS_LONG else QUICK


def seeds(group: int) -> list[int]:
    """Return the seeds of a group; the one that MGX_SEED names is alone."""
    if named := os.environ.get("MGX_SEED"):
        return [int(named)] if group == 0 else []
    return list(range(1 + group, 1 + SEEDS, GROUPS))


@pytest.mark.promise("P2 P3 P9 seeds of drivers that die, sleep, hear late and twice")
@pytest.mark.parametrize("group", range(GROUPS))
def test_whatever_goes_wrong_every_run_ends_as_it_must(
    workspace: Workspace,
    users: dict[str, Any],
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    record_property: Any,
    group: int,
) -> None:
    caplog.set_level(logging.CRITICAL, "workflows")
    settings.MGX_MAX_CRASHES = 1_000
    faults = 0
    for seed in seeds(group):
        with transaction.atomic():
            simulation = Simulation(Scene(workspace, users), seed)
            try:
                simulation.live()
            except BaseException as error:
                error.add_note(f"Again: MGX_SEED={seed} pytest {__file__}")
                raise
            faults += simulation.faults
            transaction.set_rollback(True)
    record_property("figures", f"{len(seeds(group))} seeds, {faults} faults")
