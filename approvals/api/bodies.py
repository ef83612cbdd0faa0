"""What a body may say to a request for a decision, or to make one."""

from typing import Any

from rest_framework import serializers

from approvals.api.serializers import PERSONS_OUTCOMES
from approvals.models import Outcome, Risk
from workflows.api.fields import FlagField, ObjectField, StrictSerializer, TextField, WholeField

#: The most decisions of one call.
MAX_BATCH = 500
_MAX_FEEDBACK = 10_000


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


class ReceiptRequest(StrictSerializer):
    """A receipt to be checked."""

    receipt = ObjectField()


class _Names(serializers.ListField):
    def __init__(self, **options: Any) -> None:
        super().__init__(child=TextField(max_length=200), max_length=100, **options)


class ApprovalRequest(StrictSerializer):
    """A request for a decision that belongs to no workflow. Times are in seconds.

    The rules are those of `config.approval` in a workflow, under the same names. With
    ``parent_approval_id`` it is the next revision of a request of the caller's that was sent back.
    The decision is posted to ``callback_url``.
    """

    workspace = TextField(required=False, max_length=100)
    project = TextField(required=False, max_length=100, allow_null=True)
    title = TextField(max_length=500)
    description = TextField(required=False, allow_blank=True, max_length=100_000)
    approval_data = ObjectField(required=False)
    files = serializers.ListField(child=ObjectField(), required=False, max_length=500)
    required_approvers = _Names(required=False)
    min_approvals = serializers.JSONField(required=False, help_text="A number, or `all`")
    policy = ObjectField(required=False, allow_null=True)
    prevent_self_approval = FlagField(required=False)
    risk = serializers.ChoiceField(Risk.choices, required=False)
    form_schema = ObjectField(required=False, allow_null=True)
    auto_approve_after_seconds = WholeField(required=False, allow_null=True)
    expires_after_seconds = WholeField(required=False, allow_null=True)
    reminders = serializers.ListField(child=WholeField(), required=False, max_length=20)
    escalate_after_seconds = WholeField(required=False, allow_null=True)
    escalate_to = _Names(required=False)
    on_timeout = TextField(required=False, max_length=200)
    max_revisions = WholeField(required=False)
    parent_approval_id = serializers.UUIDField(required=False, allow_null=True)
    callback_url = TextField(required=False, allow_blank=True, max_length=2_000)
