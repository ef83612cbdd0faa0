"""How a request for a decision is shown, and what a body may say to one."""

from typing import Any

from rest_framework import serializers

from approvals.models import (
    ApprovalComment,
    ApprovalDecision,
    ApprovalStatus,
    Outcome,
    WorkflowStepApproval,
)
from approvals.rights import Eligibility
from workflows.api.fields import FlagField, ObjectField, StrictSerializer, TextField, WholeField

MAX_BATCH = 100
_MAX_FEEDBACK = 10_000
#: What a person can decide; time runs out by itself.
PERSONS_OUTCOMES = [Outcome.APPROVED.value, Outcome.REJECTED.value, Outcome.REQUEST_CHANGES.value]


class DecisionSerializer(serializers.ModelSerializer[ApprovalDecision]):
    """One decision as it was taken; ``user`` is null for the system's own."""

    user = serializers.CharField(source="user.username", allow_null=True, default=None)
    response_data = serializers.JSONField(allow_null=True)

    class Meta:
        model = ApprovalDecision
        fields = [
            "id",
            "user",
            "outcome",
            "comment",
            "response_data",
            "digest",
            "revision",
            "door",
            "is_final",
            "decided_at",
        ]


class ApprovalSummarySerializer(serializers.ModelSerializer[WorkflowStepApproval]):
    """A request without its payload. ``can_decide``: whether the caller may decide it now."""

    workspace = serializers.CharField(source="workspace.slug")
    project = serializers.CharField(source="project.slug", allow_null=True, default=None)
    workflow = serializers.CharField(
        source="workflow_execution.workflow.name", allow_null=True, default=None
    )
    requested_by = serializers.CharField(
        source="requested_by.username", allow_null=True, default=None
    )
    approved_by = serializers.CharField(
        source="approved_by.username", allow_null=True, default=None
    )
    required_approvers = serializers.ListField(child=serializers.CharField())
    revision = serializers.IntegerField(help_text="Of the work that is shown, from 1")
    can_decide = serializers.SerializerMethodField()
    decisions = DecisionSerializer(many=True)

    class Meta:
        model = WorkflowStepApproval
        fields = [
            "id",
            "step_execution_id",
            "workflow_execution_id",
            "workflow",
            "workspace",
            "workspace_id",
            "project",
            "project_id",
            "status",
            "title",
            "description",
            "digest",
            "revision",
            "risk",
            "requested_by",
            "approved_by",
            "feedback",
            "requested_at",
            "responded_at",
            "expires_at",
            "auto_approve_after_seconds",
            "required_approvers",
            "approval_metadata",
            "revision_count",
            "parent_approval_id",
            "created_at",
            "updated_at",
            "can_decide",
            "decisions",
        ]

    def get_can_decide(self, approval: WorkflowStepApproval) -> bool:
        return approval.pk in self.context["decidable"]


class RefusalSerializer(serializers.Serializer[Any]):
    """Why the caller cannot decide."""

    code = serializers.CharField()
    message = serializers.CharField()


class ApprovalSerializer(ApprovalSummarySerializer):
    """A request with its payload; decide with its ``digest``, and exactly this is what runs."""

    approval_data = serializers.JSONField()
    response_data = serializers.JSONField(allow_null=True)
    cannot_decide_because = RefusalSerializer(allow_null=True)

    class Meta(ApprovalSummarySerializer.Meta):
        fields = [
            *ApprovalSummarySerializer.Meta.fields,
            "approval_data",
            "response_data",
            "cannot_decide_because",
        ]

    def to_representation(self, approval: WorkflowStepApproval) -> dict[str, Any]:
        eligibility: Eligibility = self.context["eligibility"]
        decidable = {approval.pk} if eligibility.allowed else set()
        summary = ApprovalSummarySerializer(approval, context={"decidable": decidable}).data
        refusal = {"code": eligibility.code, "message": eligibility.why}
        return {
            **summary,
            "approval_data": approval.approval_data,
            "response_data": approval.response_data,
            "cannot_decide_because": None if eligibility.allowed else refusal,
        }


def closed(approval: Any) -> Eligibility | None:
    """Say why nobody can decide on a request any more, or None while it is open.

    The database's clock has said whether it ``has_expired``.
    """
    if approval.status != ApprovalStatus.PENDING:
        label = ApprovalStatus(approval.status).label.lower()
        return Eligibility(False, "already_decided", f"This is {label}.")
    if approval.has_expired:
        return Eligibility(False, "expired", "This request has expired.")
    return None


class CommentSerializer(serializers.ModelSerializer[ApprovalComment]):
    """A remark that decides nothing."""

    author = serializers.CharField(source="author.username")

    class Meta:
        model = ApprovalComment
        fields = ["id", "author", "body", "created_at"]


class CommentRequest(StrictSerializer):
    """A remark to be added."""

    body = TextField(max_length=_MAX_FEEDBACK)


class VerbRequest(StrictSerializer):
    """What goes with a decision. ``digest`` and ``revision``: of what the person saw."""

    feedback = TextField(required=False, default="", allow_blank=True, max_length=_MAX_FEEDBACK)
    response_data = serializers.JSONField(required=False, allow_null=True, default=None)
    digest = TextField(required=False, allow_null=True, default=None, max_length=64)
    revision = WholeField(required=False, allow_null=True, default=None, min_value=1)


class DecisionRequest(VerbRequest):
    """A decision: ``outcome``, or ``approved`` for the two plain ones."""

    outcome = serializers.ChoiceField(PERSONS_OUTCOMES, required=False)
    approved = FlagField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("outcome" in attrs) == ("approved" in attrs):
            choices = ", ".join(PERSONS_OUTCOMES)
            raise serializers.ValidationError(
                {"outcome": f"One of {choices}; or else approved, true or false"}, code="required"
            )
        if "approved" in attrs:
            plain = Outcome.APPROVED if attrs.pop("approved") else Outcome.REJECTED
            attrs["outcome"] = plain.value
        return attrs


class BatchedDecisionRequest(DecisionRequest):
    """A decision on one of several requests."""

    approval_id = serializers.UUIDField()


class BatchDecisionRequest(StrictSerializer):
    """Several decisions; each is judged by itself."""

    decisions = serializers.ListField(
        child=BatchedDecisionRequest(), min_length=1, max_length=MAX_BATCH
    )


class ApprovalRequest(StrictSerializer):
    """A request for a decision that belongs to no workflow. Times are in seconds."""

    workspace = TextField(required=False, max_length=100)
    project = TextField(required=False, max_length=100, allow_null=True, default=None)
    title = TextField(max_length=500)
    description = TextField(required=False, default="", allow_blank=True, max_length=100_000)
    approval_data = ObjectField(required=False, default=dict)
    required_approvers = serializers.ListField(
        child=TextField(max_length=200), required=False, default=list, max_length=100
    )
    auto_approve_after_seconds = WholeField(required=False, allow_null=True, default=None)
    expires_after_seconds = WholeField(required=False, allow_null=True, default=None)
