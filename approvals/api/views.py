"""Requests for a decision: look, ask, decide, wait, remark."""

import json
from datetime import UTC, datetime
from typing import Any

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Now
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from approvals import waiting
from approvals.api.serializers import (
    ApprovalRequest,
    ApprovalSerializer,
    ApprovalSummarySerializer,
    BatchDecisionRequest,
    CommentRequest,
    CommentSerializer,
    DecisionRequest,
    VerbRequest,
    closed,
)
from approvals.models import (
    ApprovalComment,
    ApprovalStatus,
    Door,
    Outcome,
    Risk,
    WorkflowStepApproval,
)
from approvals.rights import can_decide
from approvals.services import requests
from approvals.services.decisions import Decision, DecisionResult, decide, decide_many
from workflows.api.base import ApiView, caller, find_project, find_workspace, get_visible
from workflows.api.fields import StrictSerializer, read_input
from workflows.api.filters import Choices, InProjectFilter, filters
from workflows.api.idempotency import idempotent
from workflows.core.errors import Problem
from workflows.errors import InvalidInput

_NEVER = datetime.max.replace(tzinfo=UTC)
_LARGE = ("workflow_execution__input_variables", "workflow_execution__output_data")


class ApprovalFilter(InProjectFilter):
    """``assigned_to=me``: what the caller may decide now; ``q``: in titles and descriptions."""

    search_fields = ("title", "description")

    status = Choices(choices=ApprovalStatus.choices)
    risk = Choices(choices=Risk.choices)
    assigned_to = filters.ChoiceFilter(choices=[("me", "me")], method="to_caller")
    workflow_execution = filters.UUIDFilter(field_name="workflow_execution_id")
    due_before = filters.IsoDateTimeFilter(field_name="expires_at", lookup_expr="lt")

    def to_caller(self, queryset: Any, name: str, value: str) -> QuerySet[Any]:
        mine: QuerySet[Any] = _open(queryset.decidable_by(caller(self.request)))
        return mine


class Approvals(ApiView):
    serializer_class = ApprovalSummarySerializer
    queryset = WorkflowStepApproval.objects.all()
    filterset_class = ApprovalFilter
    orderings = {"-requested_at": "requested_at", "expires_at": "deadline"}

    def get(self, request: Request) -> Response:
        """The requests of the caller's workspaces."""
        approvals = _visible(request).defer(*_LARGE, "approval_data", "response_data")
        # A request without a deadline comes after all that have one.
        approvals = approvals.annotate(deadline=Coalesce("expires_at", Value(_NEVER)))
        page = self.paginate_queryset(self.filter_queryset(approvals)) or []
        mine = WorkflowStepApproval.objects.filter(pk__in=[approval.pk for approval in page])
        decidable = set(_open(mine.decidable_by(caller(request))).values_list("pk", flat=True))
        shown = ApprovalSummarySerializer(page, many=True, context={"decidable": decidable})
        return self.get_paginated_response(shown.data)

    @extend_schema(request=ApprovalRequest, responses={201: ApprovalSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Ask for a decision that belongs to no workflow."""
        given = read_input(ApprovalRequest, request.data)
        workspace = find_workspace(caller(request), given.pop("workspace", None))
        project = find_project(workspace, given.pop("project"))
        if given["expires_after_seconds"] is None:
            del given["expires_after_seconds"]
        approval = requests.create_approval_request(
            workspace=workspace, project=project, user=caller(request), **given
        )
        answer = _answer(request, approval.pk, status.HTTP_201_CREATED)
        answer["Location"] = request.build_absolute_uri(f"/api/v1/approvals/{approval.pk}/")
        return answer


class OneApproval(ApiView):
    serializer_class = ApprovalSerializer
    queryset = WorkflowStepApproval.objects.all()

    @extend_schema(operation_id="approvals_retrieve")
    def get(self, request: Request, id: Any) -> Response:
        """A request with its payload, its decisions, and whether the caller may decide."""
        return _answer(request, id)


class Decisions(ApiView):
    """Decides a request. Subclasses know the outcome beforehand."""

    serializer_class = ApprovalSerializer
    queryset = WorkflowStepApproval.objects.all()
    scopes = {"POST": "decide"}

    @extend_schema(request=DecisionRequest, responses={200: ApprovalSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Decide. Of many who do so at once one wins; the others get 409 with the winner."""
        return _decide(request, id, DecisionRequest)


class Approve(Decisions):
    @extend_schema(request=VerbRequest, responses={200: ApprovalSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Approve."""
        return _decide(request, id, VerbRequest, outcome=Outcome.APPROVED.value)


class Reject(Decisions):
    @extend_schema(request=VerbRequest, responses={200: ApprovalSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Reject; ``feedback`` says why."""
        return _decide(request, id, VerbRequest, outcome=Outcome.REJECTED.value)


class RequestChanges(Decisions):
    @extend_schema(request=VerbRequest, responses={200: ApprovalSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Send back; ``feedback`` says what should change."""
        return _decide(request, id, VerbRequest, outcome=Outcome.REQUEST_CHANGES.value)


class DecisionResultSerializer(serializers.Serializer[Any]):
    """What became of one decision: ``problem`` is null where it was recorded."""

    approval_id = serializers.UUIDField()
    http_status = serializers.IntegerField()
    status = serializers.ChoiceField(ApprovalStatus.choices, allow_null=True)
    repeated = serializers.BooleanField()
    problem = serializers.DictField(allow_null=True)


class BatchResultSerializer(serializers.Serializer[Any]):
    """A result for each decision, in their order."""

    results = DecisionResultSerializer(many=True)


class BatchDecisions(ApiView):
    serializer_class = BatchResultSerializer
    scopes = {"POST": "decide"}

    @extend_schema(
        operation_id="approvals_decisions_batch",
        request=BatchDecisionRequest,
        responses={200: BatchResultSerializer},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Decide several requests; each is judged and recorded by itself."""
        given = read_input(BatchDecisionRequest, request.data)["decisions"]
        outcomes = decide_many(
            [Decision(**decision) for decision in given], user=caller(request), door=Door.API
        )
        results = []
        for decision, outcome in zip(given, outcomes, strict=True):
            result = {"approval_id": str(decision["approval_id"]), "http_status": 200}
            if isinstance(outcome, DecisionResult):
                result |= {"status": outcome.approval.status, "repeated": outcome.repeated}
                result |= {"problem": None}
            else:
                problem = self._problem(outcome)
                result |= {"http_status": problem["status"], "status": None, "repeated": False}
                result |= {"problem": problem}
            results.append(result)
        return Response({"results": results})

    def _problem(self, error: Exception) -> dict[str, Any]:
        told = self.get_exception_handler()(error, self.get_exception_handler_context())
        assert told is not None
        document: dict[str, Any] = json.loads(told.content)
        return document


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
        answer = _answer(request, id)
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
        return _answer(request, id)


def _visible(request: Request) -> Any:
    return (
        WorkflowStepApproval.objects.visible_to(caller(request))
        .select_related(
            "workspace", "project", "workflow_execution__workflow", "requested_by", "approved_by"
        )
        .prefetch_related("decisions__user")
    )


def _open(approvals: Any) -> Any:
    return approvals.exclude(expires_at__lte=Now())


def _decide(request: Request, id: Any, body: type[StrictSerializer], **outcome: str) -> Response:
    given = read_input(body, request.data)
    decision = Decision(approval_id=id, **{**given, **outcome})
    decide(decision, user=caller(request), door=Door.API)
    return _answer(request, id)


def _answer(request: Request, id: Any, code: int = status.HTTP_200_OK) -> Response:
    expired = ExpressionWrapper(Q(expires_at__lte=Now()), output_field=BooleanField())
    approvals = _visible(request).defer(*_LARGE).annotate(has_expired=expired)
    approval = get_visible(approvals, pk=id)
    eligibility = closed(approval) or can_decide(caller(request), approval)
    shown = ApprovalSerializer(approval, context={"eligibility": eligibility}).data
    return Response(shown, status=code)


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
