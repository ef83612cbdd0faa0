"""The agents that assigning reads: as many as there are said to be usable, and as they stand."""

from datetime import timedelta
from itertools import product
from operator import attrgetter
from typing import Any

import pytest
from django.db import transaction

from agents.models import AgentDefinition, AgentInstance, AgentReservation, AgentStatus
from agents.services.applicants import Applicant, last_assigned, lock_applicants, write_order
from tests.db.engine.scenes import Scene
from workflows.clock import database_now
from workflows.core.ids import uuid7

pytestmark = pytest.mark.django_db


def lock(scene: Scene, *names: str) -> list[Applicant]:
    with transaction.atomic():
        return lock_applicants({scene.workspace.id}, names, database_now()).applicants


def test_they_are_those_that_are_usable(scene: Scene) -> None:
    kinds = product((True, False), AgentStatus.values, (True, False), (0, 1))
    for number, (is_enabled, status, is_silent, faults) in enumerate(kinds):
        scene.agent(
            f"w{number}",
            definition="worker",
            is_enabled=is_enabled,
            status=status,
            is_silent=is_silent,
            faults=faults,
        )
    scene.agent("unwanted")
    usable = AgentInstance.objects.usable().filter(definition__slug="worker")
    assert [one.id for one in lock(scene, "worker")] == list(
        usable.order_by("id").values_list("id", flat=True)
    )
    AgentDefinition.objects.update(is_enabled=False)
    assert not lock(scene, "worker")


def test_they_are_found_by_each_of_their_names_in_their_workspace(
    scene: Scene, other_workspace: Any
) -> None:
    one = scene.agent("one", definition="worker")
    scene.agent("two", definition="worker")
    scene.agent("theirs", definition="worker", workspace=other_workspace)
    for names, found in (
        (["one"], ["one"]),
        ([str(one.id), "two"], ["one", "two"]),
        (["worker"], ["one", "two"]),
        ([str(one.definition_id)], ["one", "two"]),
        (["nobody"], []),
    ):
        assert sorted(applicant.slug for applicant in lock(scene, *names)) == found


def test_they_are_read_as_they_stand(scene: Scene) -> None:
    now = database_now()
    made = scene.agent(places=3, faults=2, probe_at=now, config={"a": 2})
    AgentDefinition.objects.update(config={"a": 1, "b": 1}, capabilities=["plan"])
    for expires_at in (now + timedelta(hours=1), now - timedelta(hours=1)):
        AgentReservation.objects.create(
            workspace=scene.workspace,
            agent_instance=made,
            step_execution_id=uuid7(),
            attempt=1,
            reserved_at=now,
            expires_at=expires_at,
        )
    [one] = lock(scene, "worker")
    assert (one.id, one.workspace_id, one.project_id) == (made.id, scene.workspace.id, None)
    assert (one.max_concurrency, one.faults, one.probe_at, one.load) == (3, 2, now, 1)
    assert (one.config, one.skill.capabilities) == ({"a": 2, "b": 1}, ["plan"])


def test_they_remember_who_was_assigned_last(scene: Scene) -> None:
    """Whatever the fraction of the second is: what is compared is text."""
    for number in range(4):
        scene.agent(f"w{number}", definition="worker")
    assert last_assigned(lock(scene, "worker")) is None
    second = database_now().replace(microsecond=0)
    moments = [second + timedelta(microseconds=m) for m in (500_000, 0, 500_001)]
    agents = lock(scene, "worker")
    expected = [agents[place].slug for place in (3, 1, 0, 2)]
    write_order({agent.key: moment for agent, moment in zip(agents, moments, strict=False)})
    again = lock(scene, "worker")
    assert last_assigned(again) == moments[2]
    in_order = sorted(again, key=attrgetter("assigned_text"))
    assert [agent.slug for agent in in_order] == expected
