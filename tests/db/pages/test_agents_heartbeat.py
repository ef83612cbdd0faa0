"""What an agent's page says of one that is not heard of."""

from datetime import timedelta

import pytest

from agents.models import AgentInstance
from tests.pages import text
from workflows.clock import database_now

pytestmark = pytest.mark.django_db


def test_its_page_says_since_when_it_gets_no_step(client_for, agents):
    planner = agents["planner"]
    url = f"/agents/{planner.pk}/"
    heard = database_now() - timedelta(seconds=61)
    AgentInstance.objects.filter(pk=planner.pk).update(last_heartbeat=heard)
    assert "not heard of" not in text(client_for("viewer").get(url))
    AgentInstance.objects.filter(pk=planner.pk).update(config={"heartbeat_seconds": 60})
    words = text(client_for("viewer").get(url))
    assert f"It gets no step: not heard of since {heard:%Y-%m-%d %H:%M:%S} UTC." in words
    assert "It has to be heard of every 60 s." in words
