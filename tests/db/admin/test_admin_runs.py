"""Runs are started and cancelled in the admin by the services that every door calls."""

import json

import pytest
from admin_addresses import list_of, messages_on, page_of

from approvals.models import WorkflowStepApproval
from workflows.models import Membership, User, Workflow, WorkflowExecution
from workflows.services.definitions import create_workflow
from workflows.services.executions import start_execution

pytestmark = pytest.mark.django_db

VARIABLES = [
    {"name": "count", "data_type": "int", "is_required": True},
    {"name": "share", "data_type": "float"},
    {"name": "dry", "data_type": "bool", "default_value": True},
    {"name": "tags", "data_type": "json"},
    {"name": "note", "data_type": "string", "default_value": "none"},
    {"name": "who", "data_type": "string"},
]
STEPS = [
    {"name": "say", "step_type": "task", "config": {"task": "log", "inputs": {"message": "x"}}}
]


@pytest.fixture
def asking(workspace, users):
    """A published workflow with a variable of each type, one of them required."""
    document = {"name": "Asking", "variables": VARIABLES, "steps": STEPS}
    return create_workflow(workspace=workspace, document=document, user=users["editor"])


@pytest.fixture
def silent(workspace, users):
    """A published workflow that needs no values."""
    document = {"name": "Silent", "steps": STEPS}
    return create_workflow(workspace=workspace, document=document, user=users["editor"])


@pytest.fixture
def run(silent, users):
    return start_execution(silent, input_variables={}, user=users["operator"], door="api")


def start(client, workflow, **values):
    data = {f"variables-{name}": value for name, value in values.items()}
    return client.post(page_of(workflow, "start"), data)


def test_a_run_starts_with_the_values_of_its_form(staff, users, asking):
    response = start(
        staff("operator"),
        asking,
        count="3",
        share="0.5",
        dry="false",
        tags='{"a": [1]}',
        note=" a\r\nb\r\n",
    )
    run = WorkflowExecution.objects.get()
    assert response["Location"] == page_of(run)
    assert run.input_variables == {
        "count": 3,
        "share": 0.5,
        "dry": False,
        "tags": {"a": [1]},
        "note": " a\nb\n",
    }
    assert (run.started_by, run.started_through) == (users["operator"], "admin")


def test_what_is_left_empty_has_its_default(staff, asking):
    start(staff("operator"), asking, count="3", share="", dry="", tags="", note="", who="")
    # An emptied default is meant: the text is empty.
    assert WorkflowExecution.objects.get().input_variables == {"count": 3, "note": ""}


def test_wrong_values_stand_at_their_fields(staff, asking):
    response = start(staff("operator"), asking, count="three", share="NaN", tags='{"a": 1, "a": 2}')
    assert set(response.context["form"].errors) == {"count", "share", "tags"}
    assert not WorkflowExecution.objects.exists()


def test_a_required_value_is_asked_for(staff, asking):
    assert "count" in start(staff("operator"), asking).context["form"].errors
    assert not WorkflowExecution.objects.exists()


def test_a_viewer_starts_nothing(staff, asking):
    client = staff("viewer")
    assert "Start a run" not in client.get(page_of(asking)).content.decode()
    response = start(client, asking, count="1")
    assert "needs the role operator" in str(response.context["form"].errors)
    assert not WorkflowExecution.objects.exists()


def test_nobody_starts_what_they_do_not_see(stranger, asking):
    assert start(stranger, asking, count="1").status_code == 404
    assert stranger.get(page_of(asking, "export")).status_code == 404
    assert stranger.post(page_of(asking, "publish"), {"revision": "1"}).status_code == 404


def test_a_draft_that_was_never_published_does_not_start(staff, workspace, users):
    workflow = create_workflow(
        workspace=workspace,
        document={"name": "Draft", "steps": STEPS},
        user=users["editor"],
        publish=False,
    )
    response = staff("operator").get(page_of(workflow, "start"), follow=True)
    assert "has not been published" in messages_on(response)[0]


def test_the_action_starts_what_needs_no_values_and_asks_for_the_rest(staff, silent, asking):
    client = staff("operator")
    one = {"action": "start_selected", "_selected_action": [str(asking.pk)]}
    assert client.post(list_of(Workflow), one)["Location"] == page_of(asking, "start")
    both = {**one, "_selected_action": [str(asking.pk), str(silent.pk)]}
    response = client.post(list_of(Workflow), both, follow=True)
    assert "needs values" in " ".join(messages_on(response))
    assert WorkflowExecution.objects.get().workflow == silent


def test_cancelling_asks_first_and_says_who_and_why(staff, run):
    client = staff("operator")
    page = client.get(page_of(run, "cancel"))
    assert "cannot be undone" in page.content.decode()
    run.refresh_from_db()
    assert run.status == "pending"
    client.post(page_of(run, "cancel"), {"reason": "Wrong host"})
    run.refresh_from_db()
    assert (run.status, run.error_message) == ("cancelled", "Wrong host")


def test_several_are_cancelled_by_an_action_that_asks_first(staff, silent, users, run):
    client = staff("operator")
    other = start_execution(silent, input_variables={}, user=users["operator"], door="api")
    data = {"action": "cancel_selected", "_selected_action": [str(run.pk), str(other.pk)]}
    client.post(list_of(WorkflowExecution), data)
    assert not WorkflowExecution.objects.filter(status="cancelled").exists()
    client.post(page_of(other, "cancel"), {"reason": ""})
    data |= {"confirmed": "1", "reason": ""}
    response = client.post(list_of(WorkflowExecution), data, follow=True)
    said = " ".join(messages_on(response))
    assert "run 1 is cancelled" in said
    assert "has ended" in said


def do(client, verb, *runs):
    """Choose an action of the list for these runs; return what is said."""
    data = {"action": f"{verb}_selected", "_selected_action": [str(run.pk) for run in runs]}
    return messages_on(client.post(list_of(WorkflowExecution), data, follow=True))


def test_runs_are_paused_and_resumed_by_actions_that_say_what_came_of_each(
    staff, silent, users, run
):
    client = staff("operator")
    other = start_execution(silent, input_variables={}, user=users["operator"], door="api")
    assert do(client, "pause", run) == ["Silent, run 1 is paused."]
    said = do(client, "pause", run, other)
    assert sorted(said) == [
        "Silent, run 1: This run is paused already",
        "Silent, run 2 is paused.",
    ]
    assert do(client, "resume", run) == ["Silent, run 1 goes on."]
    assert do(client, "resume", run) == ["Silent, run 1: This run is waiting, not paused"]
    assert WorkflowExecution.objects.filter(is_paused=True).get() == other


def test_a_run_is_retried_by_an_action(staff, run):
    client = staff("operator")
    client.post(page_of(run, "cancel"), {"reason": "Wrong host"})
    assert do(client, "retry", run)[-1] == "Silent, run 1 goes on with the steps that failed."
    run.refresh_from_db()
    assert (run.status, run.error_message) == ("pending", "")
    assert "Only a run that did not complete" in do(client, "retry", run)[0]


def test_a_run_is_run_again_by_an_action(staff, users, run):
    assert do(staff("operator"), "rerun", run) == ["Silent, run 2 has started."]
    new = WorkflowExecution.objects.get(rerun_of=run)
    assert (new.started_by, new.started_through) == (users["operator"], "admin")
    assert page_of(run) in staff("operator").get(page_of(new)).content.decode()


@pytest.mark.parametrize("verb", ["pause", "resume", "retry", "rerun"])
def test_who_may_not_operate_a_run_does_nothing_with_it(staff, stranger, superuser, run, verb):
    before = list(WorkflowExecution.objects.values())
    for client in (staff("viewer"), stranger, superuser):
        do(client, verb, run)
    assert list(WorkflowExecution.objects.values()) == before


def test_who_may_not_cancel_is_refused(staff, stranger, superuser, run):
    viewer = staff("viewer")
    assert "Cancel this run" not in viewer.get(page_of(run)).content.decode()
    for client in (viewer, superuser):
        client.post(page_of(run, "cancel"), {"reason": ""})
    assert stranger.post(page_of(run, "cancel"), {"reason": ""}).status_code == 404
    run.refresh_from_db()
    assert run.status == "pending"


def test_a_run_shows_its_input_and_no_form(staff, asking, users):
    run = start_execution(
        asking, input_variables={"count": 1, "who": "<i>x</i>"}, user=users["operator"], door="api"
    )
    page = staff("viewer").get(page_of(run)).content.decode()
    assert "&lt;i&gt;x" in page
    assert 'name="_save"' not in page


def test_members_are_edited_by_the_admins_of_their_workspace(staff, workspace, other_workspace):
    User.objects.create_user("newcomer")
    client = staff("admin")
    add = "/admin/workflows/membership/add/"
    client.post(add, {"workspace": str(workspace.pk), "user": "newcomer", "role": "viewer"})
    assert Membership.objects.get(user__username="newcomer").workspace == workspace
    response = client.post(
        add, {"workspace": str(other_workspace.pk), "user": "newcomer", "role": "admin"}
    )
    assert "workspace" in response.context["adminform"].form.errors
    response = client.post(
        add, {"workspace": str(workspace.pk), "user": "nobody", "role": "viewer"}
    )
    assert "user" in response.context["adminform"].form.errors
    assert staff("editor").get(add).status_code == 403


def test_a_new_workspace_has_its_maker_as_admin_and_a_stream(superuser):
    superuser.post("/admin/workflows/workspace/add/", {"name": "New", "slug": "new"})
    membership = Membership.objects.get(workspace__slug="new")
    assert (membership.user.username, membership.role) == ("root", "admin")
    assert membership.workspace.event_stream.last_seq == 0


def test_agents_are_edited_by_editors_and_their_json_is_checked(staff, agents, workspace):
    planner = agents["planner"]
    data = {
        "project": "",
        "definition": str(planner.definition_id),
        "name": "Planner two",
        "slug": "planner",
        "max_concurrency": "2",
        "is_enabled": "on",
        "config": '{"a": 1, "a": 2}',
    }
    client = staff("editor")
    response = client.post(page_of(planner), data)
    assert "given twice" in response.context["adminform"].form.errors["config"][0]
    client.post(page_of(planner), {**data, "config": json.dumps({"a": 1}), "status": "error"})
    planner.refresh_from_db()
    assert (planner.name, planner.config, planner.status) == ("Planner two", {"a": 1}, "idle")
    assert staff("operator").post(page_of(planner), data).status_code == 403
    assert client.post(page_of(planner.definition), {}).status_code == 403


def test_capabilities_are_words_with_commas(superuser, agents):
    definition = agents["planner"].definition
    data = {
        "name": "P",
        "slug": "p",
        "agent_type": "demo",
        "capabilities": "plan, write",
        "config": "",
        "config_schema": "",
    }
    superuser.post(page_of(definition), data)
    definition.refresh_from_db()
    assert definition.capabilities == ["plan", "write"]
    superuser.post(page_of(definition), {**data, "capabilities": '["a, b", 1]'})
    definition.refresh_from_db()
    assert definition.capabilities == ["plan", "write"]


def test_requests_are_never_added_by_hand(superuser):
    assert superuser.get("/admin/approvals/workflowstepapproval/add/").status_code == 403
    assert not WorkflowStepApproval.objects.exists()
