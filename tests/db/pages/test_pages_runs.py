"""The pages of runs: the list, one run with its steps, and cancelling."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.pages import html, row_titles, text
from workflows.events import EventDraft, EventType, append_events
from workflows.models import WorkflowExecution
from workflows.services.definitions import create_workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client_for):
    return client_for("operator")


def url(run):
    return f"/executions/{run.pk}/"


def end(run, status="completed", **columns):
    WorkflowExecution.objects.filter(pk=run.pk).update(
        status=status, completed_at=timezone.now(), wake_at=None, **columns
    )


def chain(workspace, users, count):
    """A published workflow of so many tasks, one after the other."""
    steps = [
        {
            "name": f"step_{index}",
            "step_type": "task",
            "depends_on_steps": [f"step_{index - 1}"] if index else [],
            "config": {"task": "transform"},
        }
        for index in range(count)
    ]
    document = {"name": f"Chain of {count}", "steps": steps}
    return create_workflow(workspace=workspace, document=document, user=users["editor"])


@pytest.mark.parametrize(
    ("through", "words"),
    [("schedule", "schedule, for operator"), ("workflow", "another run, for operator")],
)
def test_what_nobody_started_by_hand_says_so_everywhere(operator, ask, through, words):
    approval = ask()
    WorkflowExecution.objects.update(started_through=through)
    run = WorkflowExecution.objects.get()
    for page in (url(run), f"/workflows/{run.workflow_id}/"):
        assert f"by {words}" in text(operator.get(page))
    assert f"{words} </td>" in html(operator.get("/executions/")).replace("</td>", " </td>")
    said = text(operator.get(f"/approvals/{approval.pk}/"))
    assert f"Started by {words} ," in said
    assert f"through the {through}" not in said


class TestList:
    def test_runs_stand_newest_first(self, operator, start):
        start()
        start()
        assert row_titles(operator.get("/executions/")) == ["Deploy, run 2", "Deploy, run 1"]

    def test_filters_by_workflow_status_number_and_name(self, operator, start, workspace, users):
        other = chain(workspace, users, 2)
        end(start(), "failed", error_message="boom")
        start(other, values={})

        def found(**query):
            return row_titles(operator.get("/executions/", query))

        assert found(status="failed") == ["Deploy, run 1"]
        assert found(workflow=other.pk) == ["Chain of 2, run 1"]
        assert found(q="chain") == ["Chain of 2, run 1"]
        assert found(q="1") == ["Chain of 2, run 1", "Deploy, run 1"]
        assert found(q="2") == []

    @pytest.mark.parametrize(
        "query",
        [{"q": "\x00"}, {"status": "x"}, {"workflow": "x"}, {"page": "-2"}, {"q": "9" * 40}],
    )
    def test_nonsense_is_ignored(self, operator, start, query):
        start()
        assert operator.get("/executions/", query).status_code == 200

    def test_another_workspace_is_not_seen(self, client, start, outsider):
        run = start()
        client.force_login(outsider, "django.contrib.auth.backends.ModelBackend")
        assert row_titles(client.get("/executions/")) == []
        assert client.get(url(run)).status_code == 404
        assert client.get(f"{url(run)}cancel/").status_code == 404
        assert client.post(f"{url(run)}cancel/").status_code == 404

    def test_an_empty_list_says_what_comes(self, operator, workflow):
        assert "Nothing has run yet" in html(operator.get("/executions/"))

    def test_the_number_of_queries_does_not_grow(self, operator, start):
        start()
        operator.get("/executions/")
        with CaptureQueriesContext(connection) as few:
            operator.get("/executions/")
        for _ in range(9):
            start()
        with CaptureQueriesContext(connection) as many:
            assert len(row_titles(operator.get("/executions/"))) == 10
        assert len(many) == len(few)


class TestRun:
    def test_it_shows_every_step_with_status_and_reason(self, operator, start, add_step):
        run = start()
        add_step(run, "generate_plan", "failed", error_message="no free agent", attempts=3)
        words = text(operator.get(url(run)))
        assert "generate_plan agent, no free agent Failed 3" in words
        assert "approval_gate approval, after generate_plan Pending" in words
        assert "1 of 3 steps done · 1 failed" in words

    def test_a_skipped_step_says_why(self, operator, start, add_step):
        run = start()
        add_step(run, "execute_plan", "skipped", skip_reason="upstream_failed")
        assert "a step before it failed" in html(operator.get(url(run)))

    def test_steps_that_an_ended_run_never_reached_are_not_pending(self, operator, start):
        run = start()
        end(run, "cancelled")
        page = html(operator.get(url(run)))
        assert page.count("Not started") >= 3
        assert "Pending" not in page.partition("<main")[2]
        assert "is-pending" not in page

    def test_a_retried_run_shows_the_latest_revision(self, operator, start, add_step):
        run = start()
        add_step(run, "generate_plan", "failed", error_message="boom")
        add_step(run, "generate_plan", "completed", revision=2)
        words = text(operator.get(url(run)))
        assert "generate_plan agent 1 earlier revision Failed revision 1" in words
        assert "boom Revision 2 1" in words
        assert "1 of 3 steps done" in words

    def test_the_chosen_step_shows_its_data(self, operator, start, add_step):
        run = start()
        add_step(
            run,
            "generate_plan",
            "completed",
            input_data={"task": "Deploy"},
            output_data={"plan": "<b>canary</b>"},
        )
        page = html(operator.get(f"{url(run)}?step=generate_plan"))
        assert "&quot;task&quot;: &quot;Deploy&quot;" in page
        assert "&lt;b&gt;canary&lt;/b&gt;" in page
        assert 'aria-current="true"' in page

    def test_a_huge_output_is_cut(self, operator, start, add_step):
        run = start()
        add_step(run, "generate_plan", "completed", output_data={"text": "x" * 500_000})
        answer = operator.get(f"{url(run)}?step=generate_plan")
        assert "more characters" in html(answer)
        assert len(answer.content) < 200_000

    @pytest.mark.parametrize("query", ["?step=nowhere", "?step=%00", "?page=99", "?page=x"])
    def test_a_step_that_does_not_exist_is_ignored(self, operator, start, query):
        assert operator.get(url(start()) + query).status_code == 200

    def test_an_open_gate_links_to_its_request(self, operator, ask):
        approval = ask()
        page = html(operator.get(url(approval.workflow_execution)))
        assert f'href="/approvals/{approval.pk}/"' in page

    def test_the_agent_of_a_step_is_named_as_the_event_told(
        self, operator, start, add_step, agents
    ):
        run = start()
        step = add_step(run, "generate_plan", "running", agent_instance_id=agents["planner"].pk)
        event = EventDraft(
            EventType.STEP_STARTED,
            run.workspace_id,
            workflow_execution_id=run.pk,
            workflow_step_id=step.pk,
            data={"step": "generate_plan", "agent": "planner-eu-1"},
            message="generate_plan started on planner-eu-1",
        )
        append_events([event], timezone.now())
        words = text(operator.get(url(run)))
        assert "agent, on planner-eu-1" in words
        assert "step_started generate_plan started on planner-eu-1" in words

    def test_its_regions_come_in_one_answer(self, operator, start):
        run = start()
        headers = {"X-MGX-Region": "head,graph,steps,chosen,events"}
        page = html(operator.get(url(run), headers=headers))
        names = re.findall(r'data-live-region="(\w+)"', page)
        assert names == ["head", "graph", "steps", "chosen", "events"]
        assert "<html" not in page

    def test_the_number_of_queries_does_not_grow(self, operator, start, workspace, users, add_step):
        counts = []
        for size in (3, 30):
            run = start(chain(workspace, users, size), values={})
            for index in range(size):
                add_step(run, f"step_{index}", "completed")
            operator.get(url(run))
            with CaptureQueriesContext(connection) as queries:
                operator.get(url(run))
            counts.append(len(queries))
        assert counts[0] == counts[1]

    def test_a_long_list_of_steps_comes_in_pages(self, operator, start, workspace, users):
        run = start(chain(workspace, users, 250), values={})
        first = html(operator.get(url(run)))
        assert "step_199</a>" in first
        assert "step_200</a>" not in first
        assert "step_249</a>" in html(operator.get(f"{url(run)}?page=2"))


class TestCancelling:
    def test_the_run_leads_to_a_page_that_asks(self, operator, start):
        run = start()
        assert f'href="{url(run)}cancel/"' in html(operator.get(url(run)))
        page = html(operator.get(f"{url(run)}cancel/"))
        assert "This cannot be undone." in page
        run.refresh_from_db()
        assert run.status == "pending"

    def test_it_ends_the_run_with_its_reason(self, operator, start):
        run = start()
        answer = operator.post(f"{url(run)}cancel/", {"reason": "Wrong release"}, follow=True)
        run.refresh_from_db()
        assert (run.status, run.error_message) == ("cancelled", "Wrong release")
        assert "Deploy, run 1, is cancelled." in html(answer)
        assert "Wrong release" in html(answer)

    def test_an_ended_run_is_not_cancelled_again(self, operator, start):
        run = start()
        end(run)
        answer = operator.post(f"{url(run)}cancel/", follow=True)
        assert "Nothing was changed." in html(answer)
        assert "Nothing is left to cancel." in html(operator.get(f"{url(run)}cancel/"))
        assert 'aria-disabled="true"' in html(operator.get(url(run)))

    def test_a_viewer_may_not(self, client_for, start):
        run = start()
        viewer = client_for("viewer")
        assert "Cancel run" not in html(viewer.get(url(run)))
        assert "needs the role operator" in html(viewer.get(f"{url(run)}cancel/"))
        assert viewer.post(f"{url(run)}cancel/").status_code == 403
        run.refresh_from_db()
        assert run.status == "pending"
