"""Deciding: one request or several, taking a decision back, and the receipt that others check."""

import json
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from approvals.api.answers import answer_with
from approvals.api.bodies import (
    BatchDecisionRequest,
    DecisionRequest,
    ReceiptRequest,
    VerbRequest,
)
from approvals.api.decided import decided_document
from approvals.api.serializers import ApprovalSerializer, DecidedSerializer
from approvals.models import ApprovalStatus, Door, Outcome, WorkflowStepApproval
from approvals.services.decisions import Decision, DecisionResult, decide_many
from approvals.services.receipts import check_receipt, receipt
from approvals.services.retraction import retract
from approvals.sign_in import decide_in_session
from workflows.api.base import ApiView, caller
from workflows.api.fields import StrictSerializer, read_input
from workflows.api.idempotency import idempotent
from workflows.errors import MgxError
from workflows.models import ApiToken


class Decisions(ApiView):
    """Decides a request. Subclasses know the outcome beforehand."""

    serializer_class = DecidedSerializer
    queryset = WorkflowStepApproval.objects.all()
    scopes = {"POST": "decide"}

    @extend_schema(request=DecisionRequest, responses={200: DecidedSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Decide, or give one of several votes. Of many who decide at once one wins; the others get
        409 with the winner."""
        return _decide(request, id, DecisionRequest)


class Approve(Decisions):
    @extend_schema(request=VerbRequest, responses={200: DecidedSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Approve."""
        return _decide(request, id, VerbRequest, outcome=Outcome.APPROVED.value)


class Reject(Decisions):
    @extend_schema(request=VerbRequest, responses={200: DecidedSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Reject; ``feedback`` says why."""
        return _decide(request, id, VerbRequest, outcome=Outcome.REJECTED.value)


class RequestChanges(Decisions):
    @extend_schema(request=VerbRequest, responses={200: DecidedSerializer})
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
    is_final = serializers.BooleanField()
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
        outcomes = _take(request, [Decision(**each) for each in given])
        results = [
            self._result(each["approval_id"], outcome)
            for each, outcome in zip(given, outcomes, strict=True)
        ]
        return Response({"results": results})

    def _result(self, approval_id: UUID, outcome: DecisionResult | MgxError) -> dict[str, Any]:
        result: dict[str, Any] = {"approval_id": str(approval_id)}
        if isinstance(outcome, DecisionResult):
            result |= {"http_status": 200, "status": outcome.approval.status, "problem": None}
            return result | {"repeated": outcome.repeated, "is_final": outcome.is_final}
        problem = self._problem(outcome)
        result |= {"http_status": problem["status"], "status": None, "problem": problem}
        return result | {"repeated": False, "is_final": False}

    def _problem(self, error: Exception) -> dict[str, Any]:
        told = self.get_exception_handler()(error, self.get_exception_handler_context())
        assert told is not None
        document: dict[str, Any] = json.loads(told.content)
        return document


class Retraction(ApiView):
    serializer_class = ApprovalSerializer
    queryset = WorkflowStepApproval.objects.all()
    scopes = {"POST": "decide"}

    @extend_schema(request=None, responses={200: ApprovalSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Take back what the caller decided; answers with the request that is open then."""
        read_input(StrictSerializer, request.data)
        reopened = retract(id, user=caller(request), door=Door.API)
        return answer_with(request, reopened.pk)


class Receipt(ApiView):
    queryset = WorkflowStepApproval.objects.all()

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, id: Any) -> Response:
        """What was decided, in a form that others can check and keep."""
        return Response(receipt(id, user=caller(request)))


class ReceiptCheckSerializer(serializers.Serializer[Any]):
    """Whether a receipt is as it was issued; ``problems`` says in sentences what is not."""

    is_valid = serializers.BooleanField()  # type: ignore[assignment]  # a field, by its name
    problems = serializers.ListField(child=serializers.CharField())


class ReceiptCheck(ApiView):
    serializer_class = ReceiptCheckSerializer
    scopes = {"POST": "read"}

    @extend_schema(request=ReceiptRequest, responses={200: ReceiptCheckSerializer})
    def post(self, request: Request) -> Response:
        """Check a receipt; nothing is stored."""
        problems = check_receipt(read_input(ReceiptRequest, request.data)["receipt"])
        return Response({"is_valid": not problems, "problems": problems})


def _decide(request: Request, id: Any, body: type[StrictSerializer], **outcome: str) -> Response:
    given = read_input(body, request.data)
    (result,) = _take(request, [Decision(approval_id=id, **{**given, **outcome})])
    if isinstance(result, MgxError):
        raise result
    return Response(decided_document(result, caller(request)))


def _take(request: Request, decisions: list[Decision]) -> list[DecisionResult | MgxError]:
    """Decide; a session may be too old for a high risk, a token never is."""
    if isinstance(request.auth, ApiToken):
        return decide_many(decisions, user=caller(request), door=Door.API)
    return decide_in_session(request._request, decisions, door=Door.API)
