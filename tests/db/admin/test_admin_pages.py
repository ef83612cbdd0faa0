"""Every page of the admin: who opens it, whose rows it shows, and at what price."""

from datetime import UTC, datetime, timedelta

import pytest
from admin_addresses import add_page_of, list_of, page_of
from django.contrib import admin
from django.urls import reverse

from agents.models import (
    AgentBudgetAnswer,
    AgentDefinition,
    AgentHandoff,
    AgentMemoryEntry,
    AgentMessage,
    AgentReservation,
    AgentUsage,
    ToolServer,
)
from approvals.models import (
    ApprovalDecision,
    ApprovalQuestion,
    Delegation,
    StandingGrant,
    WorkflowStepApproval,
)
from approvals.services.requests import create_approval_request
from workflows.clock import database_now
from workflows.core.ids import step_execution_id
from workflows.models import (
    ApiToken,
    EngineDriver,
    Event,
    Membership,
    Project,
    Timer,
    User,
    WebhookDelivery,
    WebhookEndpoint,
    Workflow,
    WorkflowExecution,
    WorkflowSchedule,
    WorkflowStepExecution,
    WorkflowVersion,
    Workspace,
)
from workflows.services.access import issue_token
from workflows.services.executions import start_execution

pytestmark = pytest.mark.django_db

READ_ONLY = [
    WorkflowVersion,
    WorkflowExecution,
    WorkflowStepExecution,
    Event,
    EngineDriver,
    Timer,
    WorkflowStepApproval,
    ApprovalDecision,
    ApprovalQuestion,
    Delegation,
    StandingGrant,
    AgentReservation,
    AgentMemoryEntry,
    AgentMessage,
    AgentHandoff,
    AgentUsage,
    AgentBudgetAnswer,
    ApiToken,
    WebhookDelivery,
]
SCOPED = [
    Workspace,
    Project,
    Membership,
    Workflow,
    WorkflowSchedule,
    WebhookEndpoint,
    ToolServer,
    *(model for model in READ_ONLY if model not in (EngineDriver, ApiToken)),
]
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def run_of(workflow, user):
    """A run with a step that has moved, and events."""
    run = start_execution(
        workflow, input_variables={"task_description": "ship"}, user=user, door="admin"
    )
    step = WorkflowStepExecution.objects.create(
        id=step_execution_id(run.id, "generate_plan", 1),
        execution=run,
        name="generate_plan",
        step_type="agent",
        status="completed",
        started_at=NOW,
        completed_at=NOW + timedelta(seconds=2),
        output_data={"result": "<script>alert(1)</script>"},
    )
    return run, step


@pytest.fixture
def rows(workspace, workflow, users, agents):
    """One row of every model in the workspace that ``users`` are members of."""
    run, step = run_of(workflow, users["operator"])
    planner, executor = agents["planner"], agents["executor"]
    request = create_approval_request(
        workspace=workspace, title="May it?", user=users["operator"], approval_data={"a": 1}
    )
    decided = ApprovalDecision.objects.create(
        approval=request,
        user=users["approver"],
        outcome="approved",
        digest="",
        door="page",
        is_final=False,
        decided_at=NOW,
    )
    common = {"workspace": workspace, "agent_instance": planner}
    endpoint = WebhookEndpoint.objects.create(
        workspace=workspace, url="https://hooks.example/", secret="x", created_at=NOW
    )
    return {
        Workspace: workspace,
        Project: Project.objects.create(workspace=workspace, name="Web", slug="web"),
        Membership: Membership.objects.get(user=users["viewer"]),
        Workflow: workflow,
        WorkflowVersion: workflow.published_version,
        WorkflowSchedule: WorkflowSchedule.objects.create(
            workflow=workflow, name="Nightly", cron="0 2 * * *"
        ),
        WorkflowExecution: run,
        WorkflowStepExecution: step,
        Event: Event.objects.filter(workspace=workspace)[0],
        EngineDriver: EngineDriver.objects.create(
            host="here", pid=1, started_at=NOW, heartbeat_at=NOW
        ),
        Timer: Timer.objects.create(
            workspace=workspace, kind="approval_expiry", subject_id=step.pk, due_at=NOW
        ),
        WorkflowStepApproval: request,
        ApprovalDecision: decided,
        ApprovalQuestion: ApprovalQuestion.objects.create(
            approval=request, asked_by=users["approver"], body="Why?", asked_at=NOW
        ),
        Delegation: Delegation.objects.create(
            workspace=workspace,
            delegator=users["approver"],
            delegate=users["editor"],
            approval=request,
            starts_at=NOW,
            created_at=NOW,
        ),
        StandingGrant: StandingGrant.objects.create(
            workspace=workspace,
            granted_by=users["approver"],
            workflow=workflow,
            max_uses=1,
            expires_at=NOW,
            created_at=NOW,
        ),
        AgentReservation: AgentReservation.objects.create(
            **common, step_execution_id=step.pk, attempt=1, reserved_at=NOW, expires_at=NOW
        ),
        AgentMemoryEntry: AgentMemoryEntry.objects.create(
            **common,
            memory_key="k",
            memory_data={"x": 1},
            size_bytes=7,
            created_at=NOW,
            updated_at=NOW,
            used_at=NOW,
        ),
        AgentMessage: AgentMessage.objects.create(
            **common,
            step_execution_id=step.pk,
            attempt=1,
            position=0,
            role="user",
            content="Plan it",
            created_at=NOW,
        ),
        AgentUsage: AgentUsage.objects.create(**common, day=NOW.date(), input_tokens=5),
        AgentBudgetAnswer: AgentBudgetAnswer.objects.create(
            workspace=workspace, month=NOW.date(), step_execution_id=step.pk, asked_at=NOW
        ),
        AgentHandoff: AgentHandoff.objects.create(
            workspace=workspace, from_agent=planner, to_agent=executor, created_at=NOW
        ),
        type(planner): planner,
        AgentDefinition: planner.definition,
        ApiToken: issue_token(users["viewer"], name="ci", scopes=["read"])[0],
        User: users["viewer"],
        WebhookEndpoint: endpoint,
        ToolServer: ToolServer.objects.create(
            workspace=workspace, name="Weather", slug="weather", url="https://tools.example/mcp"
        ),
        WebhookDelivery: WebhookDelivery.objects.create(
            workspace=workspace,
            endpoint=endpoint,
            event_seq=1,
            event_type="approval_granted",
            created_at=NOW,
        ),
    }


def test_every_model_of_ours_is_in_the_admin(rows):
    registered = {
        model
        for model in admin.site._registry
        if model.__module__.split(".")[0] in ("workflows", "approvals", "agents")
    }
    assert registered == set(rows)


def test_a_superuser_opens_every_list_and_every_page(superuser, rows):
    for model, row in rows.items():
        assert superuser.get(list_of(model)).status_code == 200, model
        assert superuser.get(page_of(row)).status_code == 200, model
        assert superuser.get(page_of(row, "history")).status_code == 200, model


def test_the_index_names_what_a_viewer_sees_and_nothing_else(staff, rows):
    page = staff("viewer").get(reverse("admin:index")).content.decode()
    assert list_of(Workflow) in page
    assert list_of(Event) in page
    assert list_of(User) not in page
    assert list_of(EngineDriver) not in page
    assert add_page_of(Workflow) not in page


@pytest.mark.parametrize("model", SCOPED, ids=lambda model: model.__name__)
def test_staff_of_another_workspace_see_no_row(stranger, rows, model):
    row = rows[model]
    # The stranger's own workspace and membership are theirs to see.
    assert page_of(row) not in stranger.get(list_of(model)).content.decode()
    response = stranger.get(page_of(row))
    assert response.status_code in (302, 404)
    if response.status_code == 302:
        assert response["Location"] == reverse("admin:index")


def test_search_and_filters_do_not_reach_another_workspace(stranger, rows):
    run = rows[WorkflowExecution]
    for query in (
        f"q={run.pk}",
        "q=Deploy",
        "workspace=acme",
        f"workflow__id__exact={run.workflow_id}",
    ):
        page = stranger.get(f"{list_of(WorkflowExecution)}?{query}")
        assert page_of(run) not in page.content.decode(), query


@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)
def test_what_the_engine_writes_nobody_edits(superuser, rows, model):
    row = rows[model]
    assert superuser.get(add_page_of(model)).status_code == 403
    assert superuser.post(add_page_of(model), {}).status_code == 403
    assert superuser.post(page_of(row, "delete"), {"post": "yes"}).status_code == 403
    assert type(row).objects.filter(pk=row.pk).exists()
    assert "delete_selected" not in superuser.get(list_of(model)).content.decode()
    if model is not WorkflowStepApproval:  # a POST there is a decision
        assert superuser.post(page_of(row), {"status": "completed"}).status_code == 403


@pytest.mark.parametrize("role", ["viewer", "operator", "approver"])
def test_below_an_editor_nobody_edits_definitions(staff, rows, role):
    client, workflow = staff(role), rows[Workflow]
    assert client.get(page_of(workflow)).status_code == 200
    assert client.post(page_of(workflow), {"name": "Mine"}).status_code == 403
    assert client.post(page_of(workflow, "delete"), {"post": "yes"}).status_code == 403
    assert client.get(add_page_of(Workflow)).status_code == 403
    client.post(page_of(workflow, "publish"), {"revision": workflow.draft_revision})
    assert WorkflowVersion.objects.filter(workflow=workflow).count() == 1


def test_only_superusers_see_people_and_drivers(staff, rows):
    client = staff("admin")
    for model in (User, EngineDriver):
        assert client.get(list_of(model)).status_code == 403
        assert client.get(page_of(rows[model])).status_code in (302, 403)


def test_a_member_who_is_not_staff_is_asked_to_sign_in(client_for):
    response = client_for("admin").get(reverse("admin:index"))
    assert response.status_code == 302
    assert "/login/" in response["Location"]


def test_staff_sign_in_at_the_admin(client, users):
    User.objects.filter(username="editor").update(is_staff=True)
    users["editor"].refresh_from_db()
    users["editor"].set_password("correct horse")
    users["editor"].save()
    data = {"username": "editor", "password": "correct horse"}
    response = client.post(reverse("admin:login"), data)
    assert response.status_code == 302
    assert client.get(list_of(Workflow)).status_code == 200


def test_filters_narrow_a_list(superuser, rows):
    event = rows[Event]
    address = list_of(Event)
    assert (
        page_of(event) in superuser.get(f"{address}?event_type={event.event_type}").content.decode()
    )
    for query in ("event_type=agent_activity", "workspace=globex"):
        assert page_of(event) not in superuser.get(f"{address}?{query}").content.decode()
    steps = list_of(WorkflowStepExecution)
    step = rows[WorkflowStepExecution]
    assert page_of(step) in superuser.get(f"{steps}?step_type=agent").content.decode()
    assert page_of(step) not in superuser.get(f"{steps}?step_type=task").content.decode()


def test_tokens_are_shown_without_their_digest_and_to_their_owner_alone(staff, superuser, rows):
    token = rows[ApiToken]
    page = superuser.get(page_of(token)).content.decode()
    assert token.prefix in page
    assert token.digest not in page
    assert token.prefix not in staff("admin").get(list_of(ApiToken)).content.decode()
    assert token.prefix in staff("viewer").get(list_of(ApiToken)).content.decode()


def test_a_token_is_revoked_by_an_action(staff, rows):
    token = rows[ApiToken]
    staff("viewer").post(
        list_of(ApiToken), {"action": "revoke_selected", "_selected_action": [str(token.pk)]}
    )
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_what_a_workflow_wrote_is_shown_as_text(superuser, rows):
    page = superuser.get(page_of(rows[WorkflowStepExecution])).content.decode()
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_run_leads_to_what_belongs_to_it(superuser, rows):
    run = rows[WorkflowExecution]
    page = superuser.get(page_of(run)).content.decode()
    for address in (
        page_of(run.workflow),
        page_of(run.version),
        page_of(rows[WorkflowStepExecution]),
        f"{list_of(WorkflowStepExecution)}?execution__id__exact={run.pk}",
        f"{list_of(WorkflowStepApproval)}?workflow_execution__id__exact={run.pk}",
        f"{list_of(Event)}?workflow_execution_id__exact={run.pk}",
    ):
        assert address in page
        assert superuser.get(address).status_code == 200


def test_lists_cost_the_same_for_many_rows(
    superuser, rows, workflow, users, workspace, agents, django_assert_max_num_queries
):
    for number in range(10):
        run_of(workflow, users["operator"])
        create_approval_request(workspace=workspace, title=f"May {number}?", user=users["operator"])
        issue_token(users["viewer"], name=f"ci {number}", scopes=["read"])
        EngineDriver.objects.create(host="here", pid=number, started_at=NOW, heartbeat_at=NOW)
        AgentReservation.objects.create(
            workspace=workspace,
            agent_instance=agents["planner"],
            step_execution_id=rows[WorkflowStepExecution].pk,
            attempt=number + 2,
            reserved_at=NOW,
            expires_at=database_now() + timedelta(hours=1),
        )
    for model in rows:
        with django_assert_max_num_queries(10):
            assert superuser.get(list_of(model)).status_code == 200
    with django_assert_max_num_queries(15):
        superuser.get(page_of(rows[WorkflowExecution]))


LARGE = ("input_data", "output_data", "definition", "approval_data", "memory_data", "context")


def test_lists_leave_out_what_may_be_a_megabyte(superuser, rows, django_assert_max_num_queries):
    for model in rows:
        with django_assert_max_num_queries(10) as asked:
            superuser.get(list_of(model))
        for query in asked.captured_queries:
            assert not any(f'"{column}"' in query["sql"] for column in LARGE), query["sql"]


def test_pages_have_no_inline_script_or_style(superuser, rows):
    for model, row in rows.items():
        for address in (list_of(model), page_of(row)):
            page = superuser.get(address).content.decode()
            assert " style=" not in page, address
            assert " onclick=" not in page, address
            assert "<style" not in page, address
            for script in page.split("<script")[1:]:
                assert "src=" in script.split(">")[0] or "application/json" in script, address
