"""What the page of a run lets its reader do with it."""

import re

import pytest
from django.test import Client

from tests.pages import html, text
from workflows.clock import database_now
from workflows.models import WorkflowExecution

pytestmark = pytest.mark.django_db

POSTED = ("pause", "resume", "retry", "rerun")


@pytest.fixture
def operator(client_for):
    return client_for("operator")


@pytest.fixture
def run(start):
    return start()


def stand(run, status, **columns):
    """Let a run stand as an engine would have left it."""
    is_live = status in ("pending", "running", "waiting", "paused")
    WorkflowExecution.objects.filter(pk=run.pk).update(
        status=status,
        is_paused=status == "paused",
        completed_at=None if is_live else database_now(),
        wake_at=None,
        **columns,
    )


def url(run, verb=""):
    return f"/executions/{run.pk}/{verb and verb + '/'}"


def offered(client, run):
    """Return the verbs that the page offers: those with a form or a link."""
    page = html(client.get(url(run)))
    return re.findall(rf'(?:action|href)="{url(run)}(\w+)/"', page)


@pytest.mark.parametrize(
    ("status", "verbs"),
    [
        ("pending", ["pause", "rerun", "cancel"]),
        ("running", ["pause", "rerun", "cancel"]),
        ("paused", ["resume", "rerun", "cancel"]),
        ("completed", ["rerun"]),
        ("failed", ["retry", "rerun"]),
        ("timeout", ["retry", "rerun"]),
        ("cancelled", ["retry", "rerun"]),
    ],
)
def test_what_is_possible_is_offered(operator, run, status, verbs):
    stand(run, status)
    assert offered(operator, run) == verbs


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("running", "Retry failed steps: this run has not ended."),
        ("completed", "Retry failed steps: nothing in this run failed."),
        ("failed", "Pause run, Cancel run: this run has ended."),
    ],
)
def test_what_is_not_possible_says_why_where_all_can_read_it(operator, run, status, words):
    stand(run, status)
    answer = operator.get(url(run))
    assert f"<p>{words}</p>" in html(answer)
    for label in words.partition(":")[0].split(", "):
        assert re.search(rf"{label}…? is not possible", text(answer))


def test_a_run_that_nothing_waits_for_is_not_retried(operator, run):
    stand(run, "failed", parent_step_id=run.pk, depth=1)
    assert "nothing waits for this run any more" in text(operator.get(url(run)))
    assert offered(operator, run) == ["rerun"]


def test_a_workflow_that_is_not_published_is_not_run_again(operator, run, workflow):
    workflow.published_version = None
    workflow.save()
    assert "Run again: its workflow is not published." in text(operator.get(url(run)))


def test_a_reader_who_may_do_nothing_is_offered_nothing(client_for, run):
    viewer = client_for("viewer")
    assert offered(viewer, run) == []
    assert "needs the role operator. Yours is viewer." in text(viewer.get(url(run)))
    assert "needs the role operator" not in text(client_for("operator").get(url(run)))
    for verb in POSTED:
        assert viewer.post(url(run, verb)).status_code == 403
    run.refresh_from_db()
    assert run.status == "pending"


@pytest.mark.parametrize(
    ("verb", "status", "then", "words"),
    [
        ("pause", "running", "paused", "is paused"),
        ("resume", "paused", "waiting", "goes on"),
        ("retry", "failed", "pending", "goes on with the steps that failed"),
    ],
)
def test_it_is_done_and_said(operator, run, verb, status, then, words):
    stand(run, status)
    answer = operator.post(url(run, verb), follow=True)
    assert answer.redirect_chain == [(url(run), 302)]
    assert f"Deploy, run 1, {words}" in text(answer)
    run.refresh_from_db()
    assert run.status == then


def test_a_run_again_leads_to_the_new_one(operator, run):
    answer = operator.post(url(run, "rerun"), follow=True)
    new = WorkflowExecution.objects.get(rerun_of=run)
    assert answer.redirect_chain == [(url(new), 302)]
    assert "Deploy, run 2, has started" in text(answer)
    assert (new.input_variables, new.started_through) == (run.input_variables, "page")


def test_inputs_that_do_not_fit_any_more_lead_to_the_form(operator, run):
    WorkflowExecution.objects.filter(pk=run.pk).update(input_variables={"old": 1})
    answer = operator.post(url(run, "rerun"), follow=True)
    assert answer.redirect_chain == [(f"/workflows/{run.workflow_id}/", 302)]
    assert "The workflow has no variable “old”" in text(answer)
    assert WorkflowExecution.objects.count() == 1


@pytest.mark.parametrize(
    ("verb", "status", "words"),
    [
        ("pause", "completed", "This run has ended: it is completed. Nothing was changed."),
        ("pause", "paused", "This run is paused already. Nothing was changed."),
        ("resume", "running", "This run is running, not paused. Nothing was changed."),
        ("retry", "running", "this one is running. Nothing was changed."),
    ],
)
def test_what_came_too_late_is_said(operator, run, verb, status, words):
    stand(run, status)
    answer = operator.post(url(run, verb), follow=True)
    assert words in text(answer)
    run.refresh_from_db()
    assert run.status == status


@pytest.mark.parametrize("verb", POSTED)
def test_only_a_form_of_this_site_does_it(users, client, outsider, run, verb):
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(users["operator"], "django.contrib.auth.backends.ModelBackend")
    assert careful.post(url(run, verb)).status_code == 403
    assert careful.get(url(run, verb)).status_code == 405
    assert client.post(url(run, verb)).url.startswith("/login/")
    client.force_login(outsider, "django.contrib.auth.backends.ModelBackend")
    assert client.post(url(run, verb)).status_code == 404
    run.refresh_from_db()
    assert run.status == "pending"
