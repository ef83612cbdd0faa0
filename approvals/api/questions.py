"""Questions about a request: the clock stands still until they are answered."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from approvals.api.serializers import QuestionSerializer
from approvals.models import ApprovalQuestion, WorkflowStepApproval
from approvals.services import questions
from workflows.api.base import ApiView, caller, get_visible
from workflows.api.fields import StrictSerializer, TextField, read_input
from workflows.api.idempotency import idempotent


class QuestionRequest(StrictSerializer):
    """What is asked, or answered."""

    body = TextField(max_length=questions.MAX_TEXT)


class Questions(ApiView):
    serializer_class = QuestionSerializer
    queryset = ApprovalQuestion.objects.all()
    orderings = {"asked_at": "asked_at"}

    def get(self, request: Request, id: Any) -> Response:
        """What was asked about a request, the earliest first."""
        visible = WorkflowStepApproval.objects.visible_to(caller(request))
        approval = get_visible(visible.only("id"), pk=id)
        asked = ApprovalQuestion.objects.filter(approval=approval)
        return self.answer_page(asked.select_related("asked_by", "answered_by"))

    @extend_schema(request=QuestionRequest, responses={201: QuestionSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Ask whoever wants the decision; nothing expires until they have answered."""
        body = read_input(QuestionRequest, request.data)["body"]
        question = questions.ask(id, user=caller(request), body=body)
        return Response(self.get_serializer(question).data, status=status.HTTP_201_CREATED)


class Answer(ApiView):
    serializer_class = QuestionSerializer
    queryset = ApprovalQuestion.objects.all()

    @extend_schema(request=QuestionRequest, responses={200: QuestionSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Answer a question; with the last one answered, the clock goes on."""
        body = read_input(QuestionRequest, request.data)["body"]
        question = questions.answer(id, user=caller(request), body=body)
        return Response(self.get_serializer(question).data)
