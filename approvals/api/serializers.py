"""How a request for a decision is shown."""

from typing import Any

from rest_framework import serializers

from approvals.models import (
    ApprovalComment,
    ApprovalDecision,
    ApprovalQuestion,
    Outcome,
    WorkflowStepApproval,
)
from approvals.rights import Eligibility
from approvals.tally import tally

#: What a person can decide; time runs out by itself.
PERSONS_OUTCOMES = [Outcome.APPROVED.value, Outcome.REJECTED.value, Outcome.REQUEST_CHANGES.value]


class DecisionSerializer(serializers.ModelSerializer[ApprovalDecision]):
    """One decision as it was taken; ``user`` is null for the system's own.

    ``is_final`` ended the request; any other approval is a vote. ``retracts`` is the decision that
    this one takes back. ``record_number`` and ``hash`` are its place in the workspace's record.
    """

    user = serializers.CharField(source="user.username", allow_null=True, default=None)
    on_behalf_of = serializers.CharField(
        source="on_behalf_of.username", allow_null=True, default=None
    )
    stands_for = serializers.ListField(
        child=serializers.CharField(), help_text="The named approvers whose place the person takes"
    )
    response_data = serializers.JSONField(allow_null=True)
    edited_data = serializers.JSONField(
        allow_null=True, help_text="The payload as this decision left it, if it changed it"
    )

    class Meta:
        model = ApprovalDecision
        fields = [
            "id",
            "user",
            "on_behalf_of",
            "stands_for",
            "outcome",
            "comment",
            "response_data",
            "edited_data",
            "digest",
            "revision",
            "door",
            "grant_id",
            "retracts_id",
            "is_final",
            "decided_at",
            "record_number",
            "hash",
        ]


class QuestionSerializer(serializers.ModelSerializer[ApprovalQuestion]):
    """A question to who asked; while one has no answer, the clock stands still."""

    asked_by = serializers.CharField(source="asked_by.username")
    answered_by = serializers.CharField(
        source="answered_by.username", allow_null=True, default=None
    )

    class Meta:
        model = ApprovalQuestion
        fields = ["id", "asked_by", "body", "asked_at", "answered_by", "answer", "answered_at"]


class RevisionSerializer(serializers.ModelSerializer[WorkflowStepApproval]):
    """One of the requests in which the same was asked: the work anew, or the question anew."""

    class Meta:
        model = WorkflowStepApproval
        fields = ["id", "revision_count", "status", "feedback", "requested_at", "responded_at"]


class ApprovalSummarySerializer(serializers.ModelSerializer[WorkflowStepApproval]):
    """A request without its payload. ``can_decide``: whether the caller may decide it now.

    It ends as soon as ``approvals_given`` are as many as ``approvals_needed``, or with one
    rejection or request for changes; ``missing`` names those who have not approved.
    """

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
    max_revisions = serializers.SerializerMethodField()
    approvals_given = serializers.IntegerField()
    approvals_needed = serializers.IntegerField()
    missing = serializers.ListField(child=serializers.CharField())
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
            "clock_stopped_at",
            "escalated_at",
            "required_approvers",
            "prevent_self_approval",
            "approvals_given",
            "approvals_needed",
            "missing",
            "approval_metadata",
            "revision_count",
            "max_revisions",
            "parent_approval_id",
            "created_at",
            "updated_at",
            "can_decide",
            "decisions",
        ]

    def to_representation(self, approval: Any) -> dict[str, Any]:
        found = tally(approval)
        approval.approvals_given, approval.approvals_needed = found.given, found.needed
        approval.missing = found.missing
        return super().to_representation(approval)

    def get_max_revisions(self, approval: WorkflowStepApproval) -> int | None:
        limit: int | None = approval.approval_metadata.get("max_revisions")
        return limit

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
    form_schema = serializers.DictField(
        allow_null=True, help_text="The JSON Schema of the `response_data` of an approval"
    )
    questions = QuestionSerializer(many=True)
    revisions = RevisionSerializer(many=True)
    cannot_decide_because = RefusalSerializer(allow_null=True)

    class Meta(ApprovalSummarySerializer.Meta):
        fields = [
            *ApprovalSummarySerializer.Meta.fields,
            "approval_data",
            "response_data",
            "form_schema",
            "callback_url",
            "questions",
            "revisions",
            "cannot_decide_because",
        ]

    def to_representation(self, approval: WorkflowStepApproval) -> dict[str, Any]:
        eligibility: Eligibility = self.context["eligibility"]
        decidable = {approval.pk} if eligibility.allowed else set()
        summary = ApprovalSummarySerializer(approval, context={"decidable": decidable}).data
        refusal = {"code": eligibility.code, "message": eligibility.why}
        family = WorkflowStepApproval.objects.family_of(approval.pk)
        return {
            **summary,
            "approval_data": approval.approval_data,
            "response_data": approval.response_data,
            "form_schema": approval.approval_metadata.get("form_schema"),
            "callback_url": approval.callback_url,
            "questions": QuestionSerializer(approval.questions.all(), many=True).data,
            "revisions": RevisionSerializer(family, many=True).data,
            "cannot_decide_because": None if eligibility.allowed else refusal,
        }


class DecidedSerializer(ApprovalSerializer):
    """A request after a decision; ``is_final``: it has ended, and waits for no further vote."""

    is_final = serializers.BooleanField()
    questions = None  # type: ignore[assignment]  # that is how a field is left out
    revisions = None  # type: ignore[assignment]

    class Meta(ApprovalSerializer.Meta):
        # What else there is about it, its own address tells.
        fields = [
            *[
                name
                for name in ApprovalSerializer.Meta.fields
                if name not in ("questions", "revisions")
            ],
            "is_final",
        ]


class CommentSerializer(serializers.ModelSerializer[ApprovalComment]):
    """A remark that decides nothing."""

    author = serializers.CharField(source="author.username")

    class Meta:
        model = ApprovalComment
        fields = ["id", "author", "body", "created_at"]
