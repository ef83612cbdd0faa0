"""What agents were told and said, over REST and on their pages."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from agents.models import AgentInstance, AgentMessage
from workflows.clock import database_now

pytestmark = pytest.mark.django_db

STEP = UUID("01936d00-0000-7000-8000-000000000001")


@pytest.fixture
def planner(agents: dict[str, Any]) -> AgentInstance:
    return agents["planner"]


def write(agent: AgentInstance, *contents: str, step: UUID = STEP, **fields: Any) -> None:
    now = database_now()
    AgentMessage.objects.bulk_create(
        AgentMessage(
            workspace_id=agent.workspace_id,
            agent_instance=agent,
            step_execution_id=step,
            position=position,
            role="assistant" if position % 2 else "user",
            content=content,
            created_at=now,
            **{"attempt": 1} | fields,
        )
        for position, content in enumerate(contents)
    )


def read(client: Any, agent: AgentInstance, **query: Any) -> Any:
    return client.get(f"/api/v1/agents/{agent.id}/messages/", query)


def test_viewers_read_the_messages_of_an_agent_page_by_page(
    api: Any, planner: AgentInstance, agents: dict[str, Any]
) -> None:
    write(planner, "Plan!", "A plan", "Again!")
    write(agents["executor"], "Not this", step=uuid4())
    first = read(api("viewer"), planner, limit=2).json()
    assert [row["content"] for row in first["results"]] == ["Again!", "A plan"]
    assert first["results"][0]["step_execution_id"] == str(STEP)
    assert (first["results"][1]["role"], first["results"][1]["position"]) == ("assistant", 1)
    rest = api("viewer").get(first["next"]).json()
    assert ([row["content"] for row in rest["results"]], rest["next"]) == (["Plan!"], None)
    forwards = read(api("viewer"), planner, ordering="id").json()["results"]
    assert [row["position"] for row in forwards] == [0, 1, 2]


def test_they_are_narrowed_by_step_attempt_and_role(api: Any, planner: AgentInstance) -> None:
    other = uuid4()
    write(planner, "Plan!", "A plan")
    write(planner, "Once more", attempt=2)
    write(planner, "Else", step=other)
    client = api("viewer")
    found = read(client, planner, step_execution=str(other)).json()["results"]
    assert [row["content"] for row in found] == ["Else"]
    found = read(client, planner, step_execution=str(STEP), attempt=2).json()["results"]
    assert [row["content"] for row in found] == ["Once more"]
    found = read(client, planner, role="assistant").json()["results"]
    assert [row["content"] for row in found] == ["A plan"]
    for query in ({"step_execution": "x"}, {"attempt": "x"}, {"role": "cook"}, {"limit": 0}):
        assert read(client, planner, **query).status_code == 400


def test_who_is_of_another_workspace_finds_no_such_agent(
    make_api: Any, outsider: Any, planner: AgentInstance
) -> None:
    write(planner, "Plan!")
    assert read(make_api(outsider), planner).status_code == 404


def test_erasing_memory_leaves_the_messages(api: Any, planner: AgentInstance) -> None:
    write(planner, "Plan!")
    assert api("editor").delete(f"/api/v1/agents/{planner.id}/memory/").status_code == 200
    assert AgentMessage.objects.count() == 1
