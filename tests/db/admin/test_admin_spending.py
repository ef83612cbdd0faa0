"""What agents did and spent stands in the admin."""

from datetime import UTC, timedelta

import pytest
from admin_addresses import list_of, page_of

from agents.models import AgentInstance, AgentReservation, AgentUsage
from workflows.clock import database_now
from workflows.core.ids import uuid7

pytestmark = pytest.mark.django_db


def test_an_agents_row_and_page_tell_how_it_did_and_what_it_spent(superuser, agents, workspace):
    planner = agents["planner"]
    now = database_now()
    for ago, steps in ((0, 3), (29, 1), (31, 1000)):
        AgentUsage.objects.create(
            workspace=workspace,
            agent_instance=planner,
            day=now.astimezone(UTC).date() - timedelta(days=ago),
            steps=steps,
            failures=1,
            input_tokens=1_000 * steps,
            output_tokens=steps,
            cost_micros=2_500_000,
        )
    page = superuser.get(list_of(AgentInstance)).content.decode()
    assert "50.0 %" in page
    assert "4,000, 4" in page
    assert "5.00" in page
    AgentReservation.objects.create(
        workspace=workspace,
        agent_instance=planner,
        step_execution_id=uuid7(),
        attempt=1,
        reserved_at=now - timedelta(seconds=3),
        released_at=now,
        expires_at=now,
        outcome="completed",
    )
    page = superuser.get(page_of(planner)).content.decode()
    assert "100 % of 1 steps; 0 failed; median 3 s, 95 % in 3 s" in page
