"""Standing grants: an approval given ahead for requests that match, so many times, until an end.

A grant is a vote of the one who gave it, cast as the request opens: if they have the right to
decide on it at that moment, and by the rule that counts every other vote.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet

from approvals.models import Door, Outcome, Risk, StandingGrant, WorkflowStepApproval
from approvals.rights import has_own_right
from approvals.services.records import approval_event
from approvals.services.votes import Ballot, cast
from workflows.bulk import select, wake_engine
from workflows.clock import database_now
from workflows.core.errors import ExpressionError, Problem
from workflows.core.expressions import Expression, compile_expression
from workflows.core.names import name_in_definition
from workflows.core.scope import Names, Scope
from workflows.errors import InvalidInput, NotPermitted, NotVisible
from workflows.events import SYSTEM, EventDraft, EventType, append_events
from workflows.models import Role, User, Workflow, WorkflowExecution
from workflows.policies import FORBID_STANDING_GRANTS
from workflows.services.access import require_role
from workflows.services.definitions import draft_document
from workflows.services.open_steps import every_step
from workflows.services.texts import text_problem

MAX_USES = 10_000
MAX_NOTE = 500
LONGEST = timedelta(days=366)
#: Kind of the timer that has the grants looked at for a request that has just been opened.
GRANTS = "approval_grants"

_NAMES = Names(variables=frozenset(("payload", "title", "risk")))


def give_grant(
    workflow: Workflow,
    *,
    user: User,
    max_uses: int,
    expires_at: datetime,
    step_name: str = "",
    predicate: str = "",
    note: str = "",
) -> StandingGrant:
    """Approve ahead what a workflow, or one step of it, will ask and ``predicate`` holds of.

    Raises NotVisible, NotPermitted (role approver, or ``grants_forbidden`` here), and
    InvalidInput with everything wrong.
    """
    workspace = require_role(user, workflow.workspace_id, Role.APPROVER).workspace
    if workspace.settings.get(FORBID_STANDING_GRANTS, False):
        raise NotPermitted("This workspace allows no standing grants.", code="grants_forbidden")
    with transaction.atomic():
        now = database_now()
        grant = StandingGrant(
            workspace=workspace,
            granted_by=user,
            workflow=workflow,
            step_name=step_name,
            predicate=predicate.strip(),
            note=note,
            max_uses=max_uses,
            expires_at=expires_at,
            created_at=now,
        )
        if problems := _problems(grant, now):
            code = problems[0].error_type if len(problems) == 1 else None
            raise InvalidInput("The grant cannot be given like this.", problems, code=code)
        grant.save(force_insert=True)
        append_events([_event(grant, EventType.GRANT_GIVEN, user)], now)
    return grant


def revoke_grant(grant_id: UUID, *, user: User) -> StandingGrant:
    """End a grant at once; what it approved stays. Doing it again changes nothing.

    Raises NotVisible, and NotPermitted unless ``user`` gave it or is an admin.
    """
    with transaction.atomic():
        visible = StandingGrant.objects.visible_to(user).filter(id=grant_id)
        locked = visible.select_for_update(of=("self",)).select_related("workflow", "granted_by")
        grant: StandingGrant | None = locked.first()
        if grant is None:
            raise NotVisible("There is no such grant.")
        if grant.granted_by_id != user.pk:
            require_role(user, grant.workspace_id, Role.ADMIN)
        if grant.revoked_at is None:
            now = database_now()
            grant.revoked_at = now
            grant.save(update_fields=["revoked_at"])
            append_events([_event(grant, EventType.GRANT_REVOKED, user)], now)
    return grant


def look_for_grants(approval_ids: Sequence[UUID], now: datetime) -> None:
    """Have requests looked at that were just opened, if there may be grants for them.

    A timer does it, at once but in a transaction of its own: a vote is recorded after all
    executions are locked, and whoever opens a request may yet lock others.
    """
    found = select(
        "INSERT INTO workflows_timer (id, workspace_id, kind, subject_id, due_at)"
        f" SELECT a.id, a.workspace_id, '{GRANTS}', a.id, a.requested_at"
        " FROM workflow_step_approvals a"
        " JOIN workflows_workflowexecution e ON e.id = a.workflow_execution_id"
        " WHERE a.id = ANY(%s) AND EXISTS (SELECT 1 FROM approvals_standinggrant g"
        " WHERE g.workflow_id = e.workflow_id AND g.revoked_at IS NULL"
        " AND g.uses < g.max_uses AND g.expires_at > %s) RETURNING id",
        list(approval_ids), now,
    )  # fmt: skip
    if found:
        wake_engine()


def apply_grants(subject_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
    """Cast the votes that were given ahead for requests just opened (a handler of timers).

    A predicate that cannot be evaluated does not match, and an event of the request says so.
    """
    approvals = _lock_requests(subject_ids)
    workflow_ids = {a.workflow_execution.workflow_id for a in approvals if a.workflow_execution}
    live = StandingGrant.objects.live(now).filter(workflow_id__in=workflow_ids).order_by("id")
    grants = list(live.select_for_update(of=("self",)).select_related("granted_by"))
    choice = _Choice(approvals, grants)
    events = choice.refusals
    while ballots := choice.next_ballots():
        records, cast_events = cast(ballots, now)
        choice.count(record.grant_id for record in records)
        events += cast_events
    _write_uses(grants, choice)
    return events


class _Choice:
    """Which grant votes on which request: one at a time, each person's once, none beyond its end.

    ``refusals``: events of the predicates that could not be evaluated.
    """

    def __init__(
        self, approvals: Sequence[WorkflowStepApproval], grants: Sequence[StandingGrant]
    ) -> None:
        self.refusals: list[EventDraft] = []
        self.used: dict[UUID, int] = dict.fromkeys((grant.id for grant in grants), 0)
        rights = {
            user: _decided_by(user, approvals) for user in {grant.granted_by for grant in grants}
        }
        self._left = {
            approval: [g for g in grants if approval.id in rights[g.granted_by]]
            for approval in approvals
        }

    def next_ballots(self) -> list[Ballot]:
        """Return a vote for each request that has another and needs it still."""
        planned = dict(self.used)
        ballots = []
        for approval, grants in self._left.items():
            while grants and approval.status == "pending":
                grant = grants.pop(0)
                if planned[grant.id] + grant.uses < grant.max_uses and self._holds(grant, approval):
                    planned[grant.id] += 1
                    ballots.append(_ballot(approval, grant))
                    break
        return ballots

    def count(self, grant_ids: Iterable[UUID | None]) -> None:
        """Note that grants were used, once for each time that they are named."""
        for grant_id in grant_ids:
            if grant_id is not None:
                self.used[grant_id] += 1

    def _holds(self, grant: StandingGrant, approval: WorkflowStepApproval) -> bool:
        assert approval.step_execution is not None
        if grant.step_name:
            row_name = approval.step_execution.name
            if name_in_definition(row_name, (grant.step_name,)) != grant.step_name:
                return False
        if not grant.predicate:
            return True
        values = {
            "payload": approval.approval_data,
            "title": approval.title,
            "risk": approval.risk,
        }
        try:
            return _compile(grant.predicate).evaluate_condition(Scope(variables=values))
        except ExpressionError as error:
            self.refusals.append(_not_applied(grant, approval, error))
            return False


def _lock_requests(ids: Sequence[UUID]) -> list[WorkflowStepApproval]:
    """Lock the requests to which grants apply at all, their executions before them."""
    pending = WorkflowStepApproval.objects.pending().filter(
        id__in=ids, workflow_execution__completed_at__isnull=True, clock_stopped_at__isnull=True
    )
    may_be = pending.exclude(risk=Risk.HIGH)
    runs = list(may_be.values_list("workflow_execution_id", flat=True))
    executions = WorkflowExecution.objects.filter(id__in=runs).order_by("id")
    list(executions.select_for_update().values_list("id", flat=True))
    rows = may_be.select_related("workflow_execution", "step_execution", "workspace").defer(
        "workflow_execution__input_variables", "workflow_execution__output_data"
    )
    locked = rows.order_by("id").select_for_update(of=("self",))
    return [
        approval
        for approval in locked
        if not approval.workspace.settings.get(FORBID_STANDING_GRANTS, False)
    ]


def _decided_by(user: User, approvals: Sequence[WorkflowStepApproval]) -> set[UUID]:
    """Return which of the requests ``user`` has the right to decide on, as no delegate."""
    asked = WorkflowStepApproval.objects.filter(has_own_right(user))
    ids = [approval.id for approval in approvals]
    return set(asked.filter(id__in=ids).values_list("id", flat=True))


def _ballot(approval: WorkflowStepApproval, grant: StandingGrant) -> Ballot:
    return Ballot(
        approval=approval,
        user=grant.granted_by,
        outcome=Outcome.APPROVED,
        door=Door.GRANT,
        feedback=grant.note,
        grant=grant,
    )


def _write_uses(grants: Sequence[StandingGrant], choice: _Choice) -> None:
    """Count the uses. The rows are locked; that the limit holds is asked of the database again."""
    for grant in grants:
        if used := choice.used[grant.id]:
            mine: QuerySet[StandingGrant] = StandingGrant.objects.filter(
                id=grant.id, uses__lte=F("max_uses") - used
            )
            assert mine.update(uses=F("uses") + used), "a grant was used beyond its limit"


def _not_applied(
    grant: StandingGrant, approval: WorkflowStepApproval, error: ExpressionError
) -> EventDraft:
    event = approval_event(approval, EventType.GRANT_NOT_APPLIED, "", actor=SYSTEM)
    event.message = (
        f"A grant of {grant.granted_by.username} does not count for “{approval.title}”:"
        f" {error.message}"
    )
    event.data |= {
        "grant_id": str(grant.id),
        "granted_by": grant.granted_by.username,
        "error": error.message,
    }
    return event


def _problems(grant: StandingGrant, now: datetime) -> list[Problem]:
    """Return everything that is wrong with a grant."""
    problems = [text_problem("note", grant.note, MAX_NOTE)]
    if grant.step_name and grant.step_name not in _gates_of(grant.workflow):
        words = f"The workflow has no approval step “{grant.step_name}”."
        problems.append(Problem("", "unknown_step", words, "/step_name"))
    if not 1 <= grant.max_uses <= MAX_USES:
        words = f"A grant counts from 1 to {MAX_USES:,} times."
        problems.append(Problem("", "out_of_range", words, "/max_uses"))
    if not now < grant.expires_at <= now + LONGEST:
        words = f"A grant ends at a moment to come, within {LONGEST.days} days."
        problems.append(Problem("", "out_of_range", words, "/expires_at"))
    if grant.predicate:
        try:
            _compile(grant.predicate)
        except ExpressionError as error:
            problems.append(Problem("", error.reason, error.message, "/predicate"))
    return [problem for problem in problems if problem]


def _gates_of(workflow: Workflow) -> set[str]:
    """Return the names of the approval steps of a workflow, as published and as drafted."""
    documents = [draft_document(workflow)]
    if workflow.published_version is not None:
        documents.append(workflow.published_version.definition)
    steps = (step for document in documents for step in every_step(document))
    return {step["name"] for step in steps if step["step_type"] == "approval"}


def _compile(predicate: str) -> Expression:
    return compile_expression(predicate, _NAMES)


def _event(grant: StandingGrant, event_type: EventType, user: User) -> EventDraft:
    of = f"{grant.workflow.name}, {grant.step_name}" if grant.step_name else grant.workflow.name
    is_given = event_type == EventType.GRANT_GIVEN
    did = "approves ahead" if is_given else "ended an approval given ahead for"
    return EventDraft(
        event_type=event_type,
        workspace_id=grant.workspace_id,
        workflow_id=grant.workflow_id,
        actor=f"user:{user.username}",
        data={
            "grant_id": str(grant.id),
            "granted_by": grant.granted_by.username,
            "step_name": grant.step_name,
            "predicate": grant.predicate,
            "max_uses": grant.max_uses,
            "uses": grant.uses,
            "expires_at": grant.expires_at.isoformat(),
        },
        message=f"{user.username} {did} {of}",
    )
