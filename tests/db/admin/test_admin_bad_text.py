"""Text that no database can keep, in the forms of the admin that have fields of their own."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from admin_addresses import add_page_of, list_of, page_of, posted_by

from approvals.models import Delegation, StandingGrant, WorkflowStepApproval
from approvals.services.requests import create_approval_request
from tests.db.kept import everything_kept
from tests.pages import text
from workflows.clock import database_now
from workflows.services.executions import start_execution

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.promise("P16 bad texts in the admin's forms"),
]

NUL = "kept\0words"


@pytest.fixture
def there(staff, superuser, workspace, workflow, agents, users):
    """Who posts, and what the forms are about."""
    run = start_execution(
        workflow, input_variables={"task_description": "x"}, user=users["operator"], door="api"
    )
    approval = create_approval_request(workspace=workspace, title="May it?", user=users["operator"])
    return SimpleNamespace(
        staff=staff,
        superuser=superuser,
        workspace=workspace,
        workflow=workflow,
        run=run,
        approval=approval,
        agent=agents["planner"],
    )


def added(client, model, **changes):
    """What the page that adds a row posts, with an end tomorrow."""
    date, time = f"{database_now() + timedelta(days=1):%Y-%m-%d %H:%M:%S}".split()
    data = posted_by(client.get(add_page_of(model)))
    ends = {f"{name}_{part}": value for name in ("ends_at", "expires_at")
            for part, value in enumerate((date, time))}  # fmt: skip
    return client, add_page_of(model), data | ends | changes


def changed(client, row, **changes):
    """What the page of a row posts."""
    return client, page_of(row), posted_by(client.get(page_of(row))) | changes


#: What a form is for → who posts it, where, and what.
FORMS = {
    "cancel a run": lambda there: (
        there.staff("operator"), page_of(there.run, "cancel"), {"reason": NUL},
    ),
    "start a run": lambda there: (
        there.staff("operator"),
        page_of(there.workflow, "start"),
        {"variables-task_description": NUL},
    ),
    "decide": lambda there: (
        there.staff("approver"),
        page_of(there.approval),
        {"outcome": "rejected", "feedback": NUL, "digest": there.approval.digest},
    ),
    "decide on several": lambda there: (
        there.staff("approver"),
        list_of(WorkflowStepApproval),
        {
            "action": "reject_selected",
            "_selected_action": [str(there.approval.pk)],
            "confirmed": "1",
            "feedback": NUL,
        },
    ),
    "leave": lambda there: added(
        there.staff("approver"),
        Delegation,
        workspace=str(there.workspace.pk),
        to="editor",
        reason=NUL,
    ),
    "approve ahead": lambda there: added(
        there.staff("approver"),
        StandingGrant,
        workflow=str(there.workflow.pk),
        max_uses="1",
        note=NUL,
    ),
    "name a workspace": lambda there: changed(there.staff("admin"), there.workspace, name=NUL),
    "name an agent": lambda there: changed(there.staff("editor"), there.agent, name=NUL),
    "configure an agent": lambda there: changed(
        there.staff("editor"), there.agent, config='{"prompt": "a\\u0000b"}'
    ),
    "say what agents can do": lambda there: changed(
        there.superuser, there.agent.definition, capabilities=NUL
    ),
    "name a step": lambda there: changed(
        there.staff("editor"), there.workflow, **{"steps-0-name": NUL}
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_it_is_refused_with_words_and_nothing_is_kept(there, form):
    client, address, data = FORMS[form](there)
    before = everything_kept()
    answer = client.post(address, data, follow=True)
    assert "ull characters are not allowed" in text(answer) or "NUL" in text(answer)
    assert everything_kept() == before
