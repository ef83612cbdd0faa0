"""Requests as lines of a list: what approval starts, who is needed, what silence does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import IntegerField, QuerySet
from django.db.models.expressions import RawSQL
from django.utils import timezone
from django.utils.safestring import SafeString

from approvals.models import WorkflowStepApproval
from approvals.pages.asked import AskedByStep
from approvals.pages.following import Following, Silence, silence_of
from approvals.pages.people import say_needed
from approvals.rights import DELEGATED, RIGHT, delegators_of
from approvals.tally import Tally, tally
from workflows.models import User, WorkflowVersion
from workflows.pages import Reader

NEAR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Row:
    """One request in a list.

    Attributes:
        needed: whose approval it lacks.
        stands_in_for: in whose place the reader may decide; empty where they have the right of
            their own, or none.
    """

    approval: WorkflowStepApproval
    starts: SafeString
    needed: str
    count: Tally
    silence: Silence
    share_left: float
    is_near: bool
    is_decidable: bool
    stands_in_for: str
    group: str

    @property
    def is_decided(self) -> bool:
        """Whether it only stays so that nothing moves under the reader."""
        return self.approval.status != "pending"

    @property
    def is_asking(self) -> bool:
        """Whether a question waits for its answer, and the clock stands still."""
        return self.approval.clock_stopped_at is not None

    @property
    def is_escalated(self) -> bool:
        """Whether more people were asked because nobody had decided."""
        return self.approval.escalated_at is not None


def rows_of(reader: Reader, ids: Sequence[UUID], now: datetime) -> list[Row]:
    """Return the rows of the requests that the reader sees, in the order of ``ids``.

    The number of queries does not depend on how many they are.
    """
    found = {approval.pk: approval for approval in _loaded(reader, ids)}
    approvals = [found[pk] for pk in ids if pk in found]
    definitions = _definitions(approvals)
    delegators = _delegators(reader.user, approvals)
    return [_row(reader, each, now, definitions, delegators) for each in approvals]


def _loaded(reader: Reader, ids: Sequence[UUID]) -> QuerySet[WorkflowStepApproval]:
    loaded: QuerySet[WorkflowStepApproval] = (
        WorkflowStepApproval.objects.visible_to(reader.user)
        .filter(pk__in=ids, workspace=reader.workspace)
        .annotate(right=RawSQL(RIGHT, [reader.user.pk], output_field=IntegerField()))
        .select_related(
            "step_execution", "workflow_execution__workflow", "requested_by", "approved_by"
        )
        .defer(
            "approval_data",
            "description",
            "response_data",
            "step_execution__input_data",
            "step_execution__output_data",
            "workflow_execution__input_variables",
            "workflow_execution__output_data",
        )
        .prefetch_related(
            "approvers__user", "approvers__group", "decisions__user", "decisions__on_behalf_of"
        )
    )
    return loaded


def _definitions(approvals: Sequence[WorkflowStepApproval]) -> dict[UUID, Any]:
    versions = {a.workflow_execution.version_id for a in approvals if a.workflow_execution}
    found = WorkflowVersion.objects.filter(pk__in=versions).only("definition")
    return {version.pk: version.definition for version in found}


def _delegators(user: User, approvals: Sequence[WorkflowStepApproval]) -> dict[UUID, str]:
    """In whose place the user may decide, by name, where they may not by themselves."""
    delegated = [a.pk for a in approvals if _right(a) == DELEGATED]
    if not delegated:
        return {}
    by_request = delegators_of(user.pk, delegated)
    people = User.objects.in_bulk({pk for ids in by_request.values() for pk in ids})
    return {
        approval: " or ".join(people[pk].get_full_name() or people[pk].username for pk in ids)
        for approval, ids in by_request.items()
    }


def _right(approval: Any) -> int | None:
    """By which right the reader may decide; it stands only in what `_loaded` has read."""
    right: int | None = approval.right
    return right


def _row(
    reader: Reader,
    approval: WorkflowStepApproval,
    now: datetime,
    definitions: Mapping[UUID, Any],
    delegators: Mapping[UUID, str],
) -> Row:
    run = approval.workflow_execution
    kind = AskedByStep if approval.approval_metadata.get("asked_by_step") else Following
    following = kind(approval, definitions.get(run.version_id) if run else None)
    silence = silence_of(approval)
    due_at = None if silence.is_stopped else silence.at
    left = (due_at - now) if due_at else None
    whole = (due_at - approval.requested_at) if due_at else None
    count = tally(approval)
    return Row(
        approval=approval,
        starts=following.starts(),
        needed=say_needed(approval, reader.user, count),
        count=count,
        silence=silence,
        share_left=left / whole if left and whole else 1.0,
        is_near=left is not None and left <= NEAR,
        is_decidable=approval.status == "pending" and _right(approval) is not None,
        stands_in_for=delegators.get(approval.pk, ""),
        group=_group(due_at, now),
    )


def _group(due_at: datetime | None, now: datetime) -> str:
    if due_at is None:
        return "Later"
    if due_at <= now + NEAR:
        return "Within the hour"
    return "Today" if timezone.localdate(due_at) == timezone.localdate(now) else "Later"
