"""How far the attempts of a run are, at their steps."""

import pytest

from tests.pages import html, text
from workflows.clock import database_now
from workflows.events import EventDraft, EventType, append_events

pytestmark = pytest.mark.django_db


@pytest.fixture
def tell(transactional_db):
    """Return a function by which the attempt of a step says how far it is."""

    def append(row, message, *, attempt=1, kind=EventType.AGENT_ACTIVITY):
        draft = EventDraft(
            kind,
            row.execution.workspace_id,
            workflow_execution_id=row.execution_id,
            workflow_step_id=row.pk,
            data={"activity": "progress", "step": row.name, "attempt": attempt},
            message=f"{row.name}: {message}",
        )
        append_events([draft], database_now())

    return append


@pytest.mark.parametrize("kind", [EventType.AGENT_ACTIVITY, EventType.STEP_PROGRESS])
def test_a_running_step_shows_what_it_said_last(client_for, start, add_step, tell, kind):
    run = start()
    row = add_step(run, "generate_plan", "running", attempts=2)
    tell(row, "of another attempt", attempt=1, kind=kind)
    assert "It says" not in text(client_for("viewer").get(f"/executions/{run.pk}/"))
    tell(row, "1 of 3", attempt=2, kind=kind)
    tell(row, "<b>2</b> of 3 " + "x" * 300, attempt=2, kind=kind)
    page = client_for("viewer").get(f"/executions/{run.pk}/?step=generate_plan")
    assert html(page).count("It says: “&lt;b&gt;2&lt;/b&gt; of 3 xxx") == 2
    assert "1 of 3" not in text(page)
    assert "x" * 200 not in text(page)
    assert "2 of 3" not in text(page).split("Latest events")[-1]


def test_a_step_that_has_ended_says_nothing_any_more(client_for, start, add_step, tell):
    run = start()
    tell(add_step(run, "generate_plan", "completed"), "2 of 3")
    assert "2 of 3" not in text(client_for("viewer").get(f"/executions/{run.pk}/"))
