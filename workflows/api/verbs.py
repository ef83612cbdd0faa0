"""What can be done with a run: cancel, pause, resume, retry, rerun, post an event to it."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import ApiView, caller, get_visible
from workflows.api.executions import (
    DOOR,
    LARGE,
    ExecutionSerializer,
    ExecutionSummarySerializer,
    answer_started,
    visible_runs,
)
from workflows.api.fields import ObjectField, StrictSerializer, TextField, read_input
from workflows.api.idempotency import idempotent
from workflows.models import Signal, WorkflowExecution
from workflows.services import verbs
from workflows.services.executions import MAX_REASON, cancel_execution


class ReasonRequest(StrictSerializer):
    """Why a run is cancelled or paused."""

    reason = TextField(required=False, default="", allow_blank=True, max_length=MAX_REASON)


class NothingRequest(StrictSerializer):
    """There is nothing to say."""


class RerunRequest(StrictSerializer):
    """The inputs of the new run; without them, those of the earlier one."""

    input_variables = ObjectField(required=False)


class SignalRequest(StrictSerializer):
    """An event for a step that waits for ``name``; ``data`` is what the step comes to."""

    name = TextField(max_length=200)
    data = serializers.JSONField(  # type: ignore[assignment]  # a field, by its name
        required=False, allow_null=True, default=None
    )


class SignalSerializer(serializers.ModelSerializer[Signal]):
    """An event that was posted to a run. ``taken_by_step_id``: the step that it ended, if any."""

    sent_by = serializers.CharField(source="sent_by.username", allow_null=True, default=None)

    class Meta:
        model = Signal
        fields = ["id", "name", "data", "sent_by", "received_at", "taken_by_step_id"]


class Verb(ApiView):
    """A view that does one thing with a run, and answers with the run as it stands then."""

    serializer_class = ExecutionSummarySerializer
    queryset = WorkflowExecution.objects.all()

    def answer(self, request: Request, id: UUID) -> Response:
        execution = get_visible(visible_runs(request).defer(*LARGE), pk=id)
        return Response(self.get_serializer(execution).data)


class Cancellation(Verb):
    @extend_schema(request=ReasonRequest, responses={200: ExecutionSummarySerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """End a run now; once this is answered no step of it starts."""
        given = read_input(ReasonRequest, request.data)
        cancel_execution(id, user=caller(request), reason=given["reason"])
        return self.answer(request, id)


class Pause(Verb):
    @extend_schema(request=ReasonRequest, responses={200: ExecutionSummarySerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Let nothing more of a run start until it is resumed; what runs already ends.

        Its open approvals can be decided meanwhile. 409 ``already_paused``, ``already_ended``.
        """
        given = read_input(ReasonRequest, request.data)
        verbs.pause_execution(id, user=caller(request), reason=given["reason"])
        return self.answer(request, id)


class Resumption(Verb):
    @extend_schema(request=NothingRequest, responses={200: ExecutionSummarySerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Let a paused run go on where it is. 409 ``not_paused``."""
        read_input(NothingRequest, request.data)
        verbs.resume_execution(id, user=caller(request))
        return self.answer(request, id)


class Retry(Verb):
    @extend_schema(request=NothingRequest, responses={200: ExecutionSummarySerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Take a run up again that did not complete: do its failed steps anew, as new revisions.

        What completed is kept. 409 ``not_failed``; ``belongs_to_ended_run`` for the run of a
        sub-workflow that nothing waits for any more.
        """
        read_input(NothingRequest, request.data)
        verbs.retry_execution(id, user=caller(request))
        return self.answer(request, id)


class Rerun(ApiView):
    serializer_class = ExecutionSerializer
    queryset = WorkflowExecution.objects.all()

    @extend_schema(request=RerunRequest, responses={201: ExecutionSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Start a new run of the workflow's published version, with the same or other inputs."""
        given = read_input(RerunRequest, request.data)
        execution = verbs.rerun_execution(
            id,
            input_variables=given.get("input_variables"),
            user=caller(request),
            door=DOOR,
        )
        return answer_started(request, execution)


class Signals(ApiView):
    serializer_class = SignalSerializer
    queryset = Signal.objects.all()
    orderings = {"received_at": "received_at"}

    @extend_schema(operation_id="executions_signals_list")
    def get(self, request: Request, id: Any) -> Response:
        """The events that were posted to a run, the first one first."""
        visible = WorkflowExecution.objects.visible_to(caller(request)).only("id")
        execution = get_visible(visible, pk=id)
        signals = Signal.objects.filter(execution=execution)
        return self.answer_page(signals.select_related("sent_by"))

    @extend_schema(request=SignalRequest, responses={201: SignalSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Post an event to a run. It is kept until a step that waits for its name takes it.

        409 ``already_ended``.
        """
        given = read_input(SignalRequest, request.data)
        signal = verbs.signal_execution(
            id, name=given["name"], data=given["data"], user=caller(request)
        )
        return Response(self.get_serializer(signal).data, status=status.HTTP_201_CREATED)
