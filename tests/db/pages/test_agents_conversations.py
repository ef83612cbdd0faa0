"""What an agent was told and said, on its page, and where the page of a run leads to it."""

import pytest

from agents.models import AgentMessage, AgentReservation
from tests.pages import html, text
from workflows.clock import database_now
from workflows.core.ids import uuid7
from workflows.models import WorkflowStepExecution

pytestmark = pytest.mark.django_db


@pytest.fixture
def say(agents):
    """Return a function by which an agent is told something and says something in a step."""

    def write(*contents, agent="planner", step=None, attempt=1, first=0, **fields):
        agent = agents[agent]
        AgentMessage.objects.bulk_create(
            AgentMessage(
                workspace=agent.workspace,
                agent_instance=agent,
                step_execution_id=step.pk if step else uuid7(),
                attempt=attempt,
                position=position,
                role="assistant" if position % 2 else "user",
                content=content,
                created_at=database_now(),
                **fields,
            )
            for position, content in enumerate(contents, first)
        )

    return write


def url(agent, query=""):
    return f"/agents/{agent.pk}/{query}"


def test_the_page_shows_the_latest_by_step_in_a_frame_of_what_nobody_has_checked(
    client_for, agents, say, start, add_step
):
    step = add_step(start(), "generate_plan", "completed")
    say("Plan it!", "<b>A plan</b>", step=step, data={"model": "small"})
    say("Then this", attempt=2)
    say("Not its own", agent="executor")
    page = client_for("viewer").get(url(agents["planner"]))
    words, source = text(page), html(page)
    assert words.index("Then this") < words.index("Plan it!") < words.index("A plan")
    assert "&lt;b&gt;A plan&lt;/b&gt;" in source
    assert "MGX has not checked any of it." in words
    assert "&quot;model&quot;: &quot;small&quot;" in source
    assert "A step of a run that is no longer kept" in words
    assert f"{step.name} of Deploy, run 1" in words.replace("</a>", "")
    assert "Not its own" not in words


def test_one_step_is_shown_by_itself_and_whole(client_for, agents, say):
    step = WorkflowStepExecution(pk=uuid7())
    say("Wanted", step=step)
    say("After a gap", step=step, first=7)
    say("Another")
    planner = agents["planner"]
    words = text(client_for("viewer").get(url(planner, f"?conversation={step.pk}")))
    assert "Wanted" in words
    assert "6 messages before it are not shown." in words
    assert "Another" not in words
    words = text(client_for("viewer").get(url(planner, f"?conversation={uuid7()}")))
    assert "Nothing that was said in this step is kept." in words
    assert "Another" in text(client_for("viewer").get(url(planner, "?conversation=x")))


def test_the_page_of_a_run_leads_there(client_for, agents, say, start, add_step):
    run = start()
    agent = agents["planner"]
    step = add_step(run, "generate_plan", "completed", agent_instance_id=agent.pk)
    now = database_now()
    AgentReservation.objects.create(
        workspace=run.workspace,
        agent_instance=agent,
        step_execution_id=step.pk,
        attempt=1,
        reserved_at=now,
        expires_at=now,
    )
    address = f"/executions/{run.pk}/?step=generate_plan"
    assert "Told and said" not in text(client_for("viewer").get(address))
    say("Plan it!", "A plan", step=step)
    page = html(client_for("viewer").get(address))
    assert f'href="{url(agent, f"?conversation={step.pk}#conversations")}"' in page
    assert "2 messages of Planner" in page


def test_an_agent_that_said_nothing_says_so(client_for, agents):
    words = text(client_for("viewer").get(url(agents["planner"])))
    assert "Nothing that it was told or said is kept." in words
