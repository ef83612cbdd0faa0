"""Text that no database can keep, in every form of the pages that takes text."""

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.test import Client

from approvals.notifications.links import link_for, token_of
from approvals.services.questions import ask as ask_question
from tests.db.kept import everything_kept
from tests.pages import html, text
from workflows.clock import database_now

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.promise("P16 bad texts in forms"),
]

NUL = "kept\0words"
SCHEMA = {"type": "object", "properties": {"note": {"type": "string"}}}


@pytest.fixture
def there(ask, start, workflow, agents, users):
    """What the forms are about: a run, a request with a question and a file, an agent."""
    data = {"files": [{"path": "a.py", "after": "one\n"}]}
    approval = ask(data=data, rules={"form_schema": SCHEMA})
    plain = ask()
    return SimpleNamespace(
        run=start(),
        workflow=workflow,
        approval=approval,
        plain=plain,
        question=ask_question(approval.pk, user=users["approver"], body="Why?"),
        link=token_of(link_for(plain, users["approver"], database_now())),
        agent=agents["planner"],
        tomorrow=(database_now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M"),
    )


def file_form(there, **said):
    return {"path": "a.py", "number": 1, "digest": there.approval.digest, **said}


def decision(approval, outcome="rejected", **said):
    return {"outcome": outcome, "digest": approval.digest, "revision": 1, **said}


#: What a form is for → who posts it, where, and what.
FORMS = {
    "cancel a run": (
        "operator",
        lambda there: (f"/executions/{there.run.pk}/cancel/", {"reason": NUL}),
    ),
    "start a run": (
        "operator",
        lambda there: (f"/workflows/{there.workflow.pk}/start/", {"var-task_description": NUL}),
    ),
    "decide": (
        "approver",
        lambda there: (f"/approvals/{there.plain.pk}/", decision(there.plain, feedback=NUL)),
    ),
    "answer a decision's form": (
        "approver",
        lambda there: (
            f"/approvals/{there.approval.pk}/",
            decision(there.approval, "approved", **{"field-note": NUL}),
        ),
    ),
    "decide by a link": (
        None,
        lambda there: (f"/approvals/link/{there.link}/", decision(there.plain, feedback=NUL)),
    ),
    "decide on several": (
        "approver",
        lambda there: (
            "/approvals/review/",
            {
                "id": [there.plain.pk],
                "outcome": "rejected",
                "feedback": NUL,
                "seal": [f"{there.plain.pk}:1:{there.plain.digest}"],
            },
        ),
    ),
    "comment": (
        "viewer",
        lambda there: (f"/approvals/{there.approval.pk}/comments/", {"body": NUL}),
    ),
    "ask": (
        "approver",
        lambda there: (f"/approvals/{there.approval.pk}/questions/", {"body": NUL}),
    ),
    "answer": (
        "operator",
        lambda there: (
            f"/approvals/{there.approval.pk}/questions/{there.question.pk}/answer/",
            {"answer": NUL},
        ),
    ),
    "pass on": (
        "approver",
        lambda there: (
            f"/approvals/{there.approval.pk}/delegations/",
            {"to": "editor", "reason": NUL},
        ),
    ),
    "review a file": (
        "approver",
        lambda there: (
            f"/approvals/{there.approval.pk}/files/reviews/",
            file_form(there, outcome="rejected", comment=NUL),
        ),
    ),
    "remark on a line": (
        "viewer",
        lambda there: (
            f"/approvals/{there.approval.pk}/files/comments/",
            file_form(there, side="new", line=1, body=NUL),
        ),
    ),
    "leave": (
        "approver",
        lambda there: (
            "/approvals/standing/absences/",
            {"to": "editor", "ends_at": there.tomorrow, "reason": NUL},
        ),
    ),
    "approve ahead": (
        "approver",
        lambda there: (
            "/approvals/standing/grants/",
            {
                "gate": f"{there.workflow.pk}/approval_gate",
                "max_uses": 1,
                "expires_at": there.tomorrow,
                "note": NUL,
            },
        ),
    ),
    "approve ahead what an expression says": (
        "approver",
        lambda there: (
            "/approvals/standing/grants/",
            {
                "gate": f"{there.workflow.pk}/approval_gate",
                "max_uses": 1,
                "expires_at": there.tomorrow,
                "predicate": f'title == "{NUL}"',
            },
        ),
    ),
    "clear a memory": (
        "editor",
        lambda there: (f"/agents/{there.agent.pk}/memory/clear/", {"key": NUL}),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_it_is_refused_with_words_and_nothing_is_kept(client_for, there, form):
    role, filled = FORMS[form]
    client = client_for(role) if role else Client()
    before = everything_kept()
    answer = client.post(*filled(there), follow=True)
    assert re.search(r"NUL character|control characters", text(answer))
    assert everything_kept() == before


@pytest.mark.parametrize("reason", [NUL, "kept words" * 1_001])
def test_a_reason_that_cannot_be_kept_stays_in_its_field(client_for, there, reason):
    answer = client_for("operator").post(f"/executions/{there.run.pk}/cancel/", {"reason": reason})
    assert answer.status_code == 400
    page = html(answer)
    assert f"{reason}</textarea>" in page
    assert 'aria-describedby="reason-error"' in page


def test_what_was_chosen_beside_a_bad_text_stays_chosen(approver, there):
    answer = approver.post(
        f"/approvals/{there.approval.pk}/delegations/", {"to": "editor", "reason": NUL}
    )
    page = html(answer)
    assert '<option value="editor" selected>' in page
    assert 'id="delegate-reason-error"' in page
    assert f'value="{NUL}"' in page
