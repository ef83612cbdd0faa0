"""What could wait for a person, found from the approvers' side, is all that they may decide."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from approvals.candidates import may_wait_for
from approvals.models import Delegation, WorkflowStepApproval
from approvals.rights import may_decide
from approvals.services.requests import Request, open_requests

pytestmark = pytest.mark.django_db

NAMES = [
    [],
    ["user123"],
    ["editor", "admin"],
    ["group:finance"],
    ["group:database"],
    ["role:viewer"],
    ["role:approver"],
    ["role:admin", "user123"],
    ["nobody"],
]


@pytest.fixture
def groups(users):
    made = {name: Group.objects.create(name=name) for name in ("finance", "database")}
    made["finance"].user_set.add(users["approver"])
    made["database"].user_set.add(users["editor"], users["viewer"])
    return made


@pytest.fixture
def requests(workspace, other_workspace, users, groups):
    """Requests of every kind, in both workspaces; half of them are decided."""
    asked = [
        Request(
            workspace_id=each.pk,
            title=f"{names} {number}",
            required_approvers=names,
            prevent_self_approval=bool(number % 2),
            requested_by_id=users["approver"].pk,
        )
        for each in (workspace, other_workspace)
        for names in NAMES
        for number in range(4)
    ]
    opened = open_requests(asked, timezone.now())
    decided = WorkflowStepApproval.objects.filter(pk__in=[each.pk for each in opened[::4]])
    decided.update(status="approved", responded_at=timezone.now())
    return opened


def delegate(workspace, giver, taker, **columns):
    now = timezone.now()
    Delegation.objects.create(
        workspace=workspace,
        delegator=giver,
        delegate=taker,
        **{
            "starts_at": now - timedelta(hours=1),
            "ends_at": now + timedelta(hours=1),
            "created_at": now,
            **columns,
        },
    )


def decided_one_by_one(user):
    pending = WorkflowStepApproval.objects.pending()
    return set(pending.filter(may_decide(user)).values_list("pk", flat=True))


def test_nothing_that_a_person_may_decide_is_left_out(workspace, users, requests):
    delegate(workspace, users["admin"], users["approver"])
    delegate(workspace, users["editor"], users["admin"], approval=requests[6], ends_at=None)
    delegate(workspace, users["approver"], users["editor"], revoked_at=timezone.now())
    for user in users.values():
        wanted = decided_one_by_one(user)
        found = WorkflowStepApproval.objects.decidable_by(user)
        assert set(found.values_list("pk", flat=True)) == wanted, user
    assert decided_one_by_one(users["approver"])
    assert not decided_one_by_one(users["viewer"])


def test_what_is_only_for_others_need_not_be_looked_at(workspace, users, requests):
    candidates = WorkflowStepApproval.objects.filter(may_wait_for(users["editor"].pk))
    titles = set(candidates.values_list("title", flat=True))
    assert not [title for title in titles if "user123" in title and "role" not in title]
    assert candidates.count() < WorkflowStepApproval.objects.pending().count() / 2


def test_nothing_waits_where_nothing_is_pending(users):
    assert not WorkflowStepApproval.objects.decidable_by(users["admin"]).exists()
