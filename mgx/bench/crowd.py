"""A workspace with very many requests, written in bulk: runs at their gates, and decided ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group

from approvals.models import (
    ApprovalApprover,
    ApprovalDecision,
    Door,
    Outcome,
    Risk,
    WorkflowStepApproval,
)
from mgx.bench.scene import Scene
from mgx.bench.scratch import tidy
from workflows.bulk import insert_objects
from workflows.clock import database_now
from workflows.core.ids import step_execution_id
from workflows.models import (
    Membership,
    Role,
    Timer,
    User,
    Workflow,
    WorkflowExecution,
    WorkflowStepExecution,
)

_AT_ONCE = 2_000
_PLAN = {"plan": "All at once, in the order of the regions. " * 12, "amount": 1_840}
_SUBJECTS = ("Deploy release", "Refund order", "Run migration", "Publish articles", "Raise limit")
_STEPS: list[dict[str, Any]] = [
    {"name": "gate", "step_type": "approval", "config": {"inputs": {"amount": 1}}},
    {
        "name": "carry_out",
        "description": "Carries it out in production",
        "step_type": "task",
        "depends_on_steps": ["gate"],
        "config": {"task": "transform", "inputs": {"approved": "${steps.gate.approved}"}},
    },
]


@dataclass(frozen=True, slots=True)
class Crowd:
    """``reader`` is an approver for whom ``mine`` of the requests wait."""

    reader: User
    mine: int


@dataclass(frozen=True, slots=True)
class _People:
    reader: User
    others: list[User]
    own_group: Group
    other_group: Group


def gather(scene: Scene, count: int, mine: int) -> Crowd:
    """Write ``count`` pending requests, ``mine`` of them for one approver, and as many decided.

    Of the approver's own six in ten name them, two their group, one their role and one nobody; the
    others name two other people, another group, or a role that is above theirs. Every fourth of
    the decided ones was for them too.
    """
    people = _people(scene)
    workflows = [
        scene.workflow(f"{subject} {number}", _STEPS)
        for subject in _SUBJECTS
        for number in range(1, 4)
    ]
    now = database_now()
    every = max(1, count // mine)
    chunks = [range(at, min(at + _AT_ONCE, count)) for at in range(0, count, _AT_ONCE)]
    for numbers in chunks:
        _decided(scene, people, workflows, numbers, now)
    for numbers in chunks:
        _open(scene, people, workflows, numbers, now, every)
    tidy()
    return Crowd(people.reader, sum(number % every == 0 for number in range(count)))


def _people(scene: Scene) -> _People:
    def member(name: str, role: Role) -> User:
        first, last = name.split()
        user = User.objects.create_user(first.lower(), first_name=first, last_name=last)
        Membership.objects.create(workspace=scene.workspace, user=user, role=role)
        return user

    reader = member("Dana Okafor", Role.APPROVER)
    others = [member(f"Person{number} Berger", Role.APPROVER) for number in range(40)]
    own, other = (Group.objects.create(name=name) for name in ("finance", "database"))
    own.user_set.add(reader, *others[:3])
    other.user_set.add(*others[5:])
    return _People(reader, others, own, other)


def _open(
    scene: Scene,
    people: _People,
    workflows: list[Workflow],
    numbers: range,
    now: datetime,
    every: int,
) -> None:
    runs, steps, approvals, timers = [], [], [], []
    approvers: list[ApprovalApprover] = []
    for number in numbers:
        run = _run(scene, people, workflows, number, now, "waiting", len(workflows))
        step = WorkflowStepExecution(
            id=step_execution_id(run.id, "gate", 1),
            execution=run,
            name="gate",
            step_type="approval",
            status="waiting",
            attempts=1,
            started_at=run.created_at,
        )
        approval = _approval(scene, number, run, now)
        approval.step_execution = step
        approval.expires_at = now + timedelta(seconds=600 + number * 7 % 864_000)
        names = list(
            _approvers(approval, people, number, None if number % every else number // every)
        )
        approval.required_approvers = [each.name for each in names]
        runs.append(run)
        steps.append(step)
        approvals.append(approval)
        approvers += names
        timers.append(
            Timer(
                workspace=scene.workspace,
                kind="approval_expiry",
                subject_id=approval.id,
                due_at=approval.expires_at,
            )
        )
    for objects in (runs, steps, approvals, timers):
        insert_objects(objects)
    ApprovalApprover.objects.bulk_create(approvers)


def _decided(
    scene: Scene, people: _People, workflows: list[Workflow], numbers: range, now: datetime
) -> None:
    runs, approvals, decisions = [], [], []
    approvers: list[ApprovalApprover] = []
    outcomes = (Outcome.APPROVED, Outcome.APPROVED, Outcome.REJECTED, Outcome.REQUEST_CHANGES)
    for number in numbers:
        run = _run(scene, people, workflows, number, now, "completed", len(workflows), is_old=True)
        approval = _approval(scene, number, run, now)
        outcome = outcomes[number % len(outcomes)]
        by = people.reader if number % 4 == 0 else people.others[number % len(people.others)]
        approval.status = outcome.value
        approval.approved_by = by
        approval.responded_at = now - timedelta(seconds=30 + number * 11)
        approvers.append(ApprovalApprover(approval=approval, user=by, name=by.username))
        approval.required_approvers = [by.username]
        runs.append(run)
        approvals.append(approval)
        decisions.append(
            ApprovalDecision(
                approval=approval,
                user=by,
                outcome=outcome,
                comment="As we said." if outcome == Outcome.APPROVED else "Not like this.",
                digest=approval.digest,
                door=Door.PAGE,
                decided_at=approval.responded_at,
            )
        )
    for objects in (runs, approvals, decisions):
        insert_objects(objects)
    ApprovalApprover.objects.bulk_create(approvers)


def _run(
    scene: Scene,
    people: _People,
    workflows: list[Workflow],
    number: int,
    now: datetime,
    status: str,
    kinds: int,
    *,
    is_old: bool = False,
) -> WorkflowExecution:
    workflow = workflows[number % kinds]
    return WorkflowExecution(
        workspace=scene.workspace,
        workflow=workflow,
        version=workflow.published_version,
        number=number // kinds * 2 + 1 + is_old,
        status=status,
        started_by=people.others[number % len(people.others)],
        started_at=now,
        completed_at=now if is_old else None,
    )


def _approval(
    scene: Scene, number: int, run: WorkflowExecution, now: datetime
) -> WorkflowStepApproval:
    risks = list(Risk)
    return WorkflowStepApproval(
        workspace=scene.workspace,
        workflow_execution=run,
        title=f"{_SUBJECTS[number % len(_SUBJECTS)]} {number} for Northwind",
        approval_data=_PLAN,
        digest=f"{number:064x}",
        risk=risks[number % len(risks)],
        requested_by=run.started_by,
        requested_at=now - timedelta(seconds=60 + number * 5),
        approval_metadata={"on_timeout": "fail", "on_reject": "fail"},
    )


def _approvers(
    approval: WorkflowStepApproval, people: _People, number: int, own: int | None
) -> Iterator[ApprovalApprover]:
    """Yield whom a request is for; ``own`` numbers those that are for the reader."""
    if own is not None:
        kind = own % 10
        if kind < 6:
            yield _named(approval, people.reader)
            yield _named(approval, people.others[number % 40])
        elif kind < 8:
            yield _grouped(approval, people.own_group)
        elif kind == 8:
            yield ApprovalApprover(approval=approval, role=Role.APPROVER, name="role:approver")
    elif number % 10 < 7:
        yield _named(approval, people.others[number % 40])
        yield _named(approval, people.others[(number + 7) % 40])
    elif number % 10 < 9:
        yield _grouped(approval, people.other_group)
    else:
        yield ApprovalApprover(approval=approval, role=Role.ADMIN, name="role:admin")


def _named(approval: WorkflowStepApproval, user: User) -> ApprovalApprover:
    return ApprovalApprover(approval=approval, user=user, name=user.username)


def _grouped(approval: WorkflowStepApproval, group: Group) -> ApprovalApprover:
    return ApprovalApprover(approval=approval, group=group, name=f"group:{group.name}")
