"""Which requests a caller sees, and the answer that shows one as it stands."""

from typing import Any

from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from approvals.api.serializers import ApprovalSerializer
from approvals.models import ApprovalStatus, WorkflowStepApproval
from approvals.rights import Eligibility, can_decide
from workflows.api.base import caller, get_visible

_LARGE = ("workflow_execution__input_variables", "workflow_execution__output_data")


def visible_requests(request: Request) -> Any:
    """Return the requests that the caller sees, with what every answer shows of them."""
    return (
        WorkflowStepApproval.objects.visible_to(caller(request))
        .select_related(
            "workspace", "project", "workflow_execution__workflow", "requested_by", "approved_by"
        )
        .prefetch_related("decisions__user", "decisions__on_behalf_of")
        .defer(*_LARGE)
    )


def still_open(approvals: Any) -> Any:
    """Leave out what has expired, whether or not a timer has noticed."""
    return approvals.exclude(expires_at__lte=Now(), clock_stopped_at__isnull=True)


def answer_with(request: Request, id: Any, code: int = status.HTTP_200_OK) -> Response:
    """Answer with a request as it is now.

    Raises:
        NotVisible: the caller sees no such request.
    """
    expired = Q(expires_at__lte=Now(), clock_stopped_at__isnull=True)
    has_expired = ExpressionWrapper(expired, output_field=BooleanField())
    approval = get_visible(visible_requests(request).annotate(has_expired=has_expired), pk=id)
    eligibility = why_closed(approval) or can_decide(caller(request), approval)
    shown = ApprovalSerializer(approval, context={"eligibility": eligibility}).data
    return Response(shown, status=code)


def why_closed(approval: Any) -> Eligibility | None:
    """Say why nobody can decide on a request any more, or None while it is open.

    The database's clock has said whether it ``has_expired``.
    """
    if approval.status != ApprovalStatus.PENDING:
        label = ApprovalStatus(approval.status).label.lower()
        return Eligibility(False, "already_decided", f"This is {label}.")
    if approval.has_expired:
        return Eligibility(False, "expired", "This request has expired.")
    return None
