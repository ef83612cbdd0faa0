"""Requests for a decision: look, ask, wait, remark."""

from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet, Value
from django.db.models.functions import Coalesce
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from approvals import waiting
from approvals.api.answers import answer_with, still_open, visible_requests
from approvals.api.bodies import ApprovalRequest, CommentRequest
from approvals.api.serializers import (
    ApprovalSerializer,
    ApprovalSummarySerializer,
    CommentSerializer,
)
from approvals.models import ApprovalComment, ApprovalStatus, Risk, WorkflowStepApproval
from approvals.services import requests
from workflows.api.base import (
    ApiView,
    as_uuid,
    caller,
    find_project,
    find_workspace,
    get_visible,
)
from workflows.api.fields import StrictSerializer, read_input
from workflows.api.filters import Choices, InProjectFilter, MomentFilter, filters
from workflows.api.idempotency import idempotent
from workflows.core.errors import Problem
from workflows.errors import InvalidInput

_NEVER = datetime.max.replace(tzinfo=UTC)


class ApprovalFilter(InProjectFilter):
    """``assigned_to=me``: what the caller may decide now; ``q``: in titles and descriptions.

    ``workflow``: its id or its name; ``decided_by``: who ended it, ``me`` for the caller.
    """

    search_fields = ("title", "description")

    status = Choices(choices=ApprovalStatus.choices)
    risk = Choices(choices=Risk.choices)
    assigned_to = filters.ChoiceFilter(choices=[("me", "me")], method="to_caller")
    workflow_execution = filters.UUIDFilter(field_name="workflow_execution_id")
    workflow = filters.CharFilter(method="of_workflow", max_length=200)
    decided_by = filters.CharFilter(method="by_person", max_length=150)
    due_before = MomentFilter(field_name="expires_at", lookup_expr="lt")
    due_after = MomentFilter(field_name="expires_at", lookup_expr="gt")

    def of_workflow(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        identifier = as_uuid(value)
        if identifier:
            return queryset.filter(workflow_execution__workflow_id=identifier)
        return queryset.filter(workflow_execution__workflow__name=value)

    def by_person(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        if value == "me":
            return queryset.filter(approved_by=caller(self.request))
        return queryset.filter(approved_by__username=value)

    def to_caller(self, queryset: Any, name: str, value: str) -> QuerySet[Any]:
        mine: QuerySet[Any] = still_open(queryset.decidable_by(caller(self.request)))
        return mine


class Approvals(ApiView):
    serializer_class = ApprovalSummarySerializer
    queryset = WorkflowStepApproval.objects.all()
    filterset_class = ApprovalFilter
    orderings = {"-requested_at": "requested_at", "expires_at": "deadline"}

    def get(self, request: Request) -> Response:
        """The requests of the caller's workspaces."""
        approvals = visible_requests(request).defer("approval_data", "response_data")
        # A request without a deadline comes after all that have one.
        approvals = approvals.annotate(deadline=Coalesce("expires_at", Value(_NEVER)))
        page = self.paginate_queryset(self.filter_queryset(approvals)) or []
        mine = WorkflowStepApproval.objects.filter(pk__in=[approval.pk for approval in page])
        decidable = set(still_open(mine.decidable_by(caller(request))).values_list("pk", flat=True))
        shown = ApprovalSummarySerializer(page, many=True, context={"decidable": decidable})
        return self.get_paginated_response(shown.data)

    @extend_schema(request=ApprovalRequest, responses={201: ApprovalSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Ask for a decision that belongs to no workflow."""
        given = read_input(ApprovalRequest, request.data)
        workspace = find_workspace(caller(request), given.pop("workspace", None))
        project = find_project(workspace, given.pop("project", None))
        # What is null is as if it were not said.
        given = {name: value for name, value in given.items() if value is not None}
        approval = requests.create_approval_request(
            workspace=workspace, project=project, user=caller(request), **given
        )
        answer = answer_with(request, approval.pk, status.HTTP_201_CREATED)
        answer["Location"] = request.build_absolute_uri(f"/api/v1/approvals/{approval.pk}/")
        return answer


class OneApproval(ApiView):
    serializer_class = ApprovalSerializer
    queryset = WorkflowStepApproval.objects.all()

    @extend_schema(operation_id="approvals_retrieve")
    def get(self, request: Request, id: Any) -> Response:
        """A request with its payload, its decisions, and whether the caller may decide."""
        return answer_with(request, id)


class Wait(ApiView):
    serializer_class = ApprovalSerializer
    queryset = WorkflowStepApproval.objects.all()

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "timeout",
                {"type": "number", "minimum": 0, "maximum": requests.MAX_WAIT_SECONDS},
                description="Seconds; by default 30",
            )
        ],
    )
    def get(self, request: Request, id: Any) -> Response:
        """The request as soon as it is decided, or as it is when the time is over."""
        # LongPoll (mgx/middleware.py) waits: a thread for each caller would be too many.
        timeout = _read_timeout(request)
        answer = answer_with(request, id)
        if timeout and answer.data["status"] == ApprovalStatus.PENDING:
            answer[waiting.HEADER] = f"{id} {timeout}"
        return answer


class Comments(ApiView):
    serializer_class = CommentSerializer
    queryset = ApprovalComment.objects.all()
    orderings = {"created_at": "created_at"}

    def get(self, request: Request, id: Any) -> Response:
        """The remarks on a request, the earliest first."""
        visible = WorkflowStepApproval.objects.visible_to(caller(request))
        approval = get_visible(visible.only("id"), pk=id)
        return self.answer_page(
            ApprovalComment.objects.filter(approval=approval).select_related("author")
        )

    @extend_schema(request=CommentRequest, responses={201: CommentSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Add a remark; it decides nothing."""
        body = read_input(CommentRequest, request.data)["body"]
        remark = requests.comment(id, author=caller(request), body=body)
        return Response(self.get_serializer(remark).data, status=status.HTTP_201_CREATED)


class Cancellation(ApiView):
    serializer_class = ApprovalSerializer
    queryset = WorkflowStepApproval.objects.all()

    @extend_schema(request=None, responses={200: ApprovalSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Withdraw a request that belongs to no run."""
        read_input(StrictSerializer, request.data)
        requests.cancel(id, user=caller(request))
        return answer_with(request, id)


def _read_timeout(request: Request) -> float:
    text = request.query_params.get("timeout", "30")
    try:
        seconds = float(text) if len(text) < 20 else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= requests.MAX_WAIT_SECONDS:
        message = f"A number of seconds from 0 to {requests.MAX_WAIT_SECONDS:.0f}"
        problem = Problem("", "invalid", message, "/timeout")
        raise InvalidInput(f"timeout: {message}.", [problem], code="invalid_timeout")
    return seconds
