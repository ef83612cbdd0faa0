"""What happened: the event stream of a workspace, and of one run."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from workflows.api.base import ApiView, caller, find_workspace, get_visible
from workflows.api.errors import CursorTooOld
from workflows.api.pagination import PAGE, read_limit
from workflows.core.errors import Problem
from workflows.errors import InvalidInput
from workflows.events import EventType, event_document
from workflows.models import Event, EventStream, WorkflowExecution
from workflows.querysets import EventQuerySet

_AFTER = OpenApiParameter(
    "after",
    {"type": "integer", "minimum": 0, "default": 0},
    description="The `seq` of the last event that is known: the WebSocket takes the same",
)


class EventSerializer(serializers.ModelSerializer[Event]):
    """One line of what happened."""

    id = serializers.UUIDField()
    event_type = serializers.ChoiceField([kind.value for kind in EventType])
    workspace_id = serializers.UUIDField()

    class Meta:
        model = Event
        fields = [
            "id",
            "seq",
            "event_type",
            "timestamp",
            "workspace_id",
            "workflow_id",
            "workflow_execution_id",
            "workflow_step_id",
            "approval_id",
            "agent_id",
            "actor",
            "data",
            "message",
        ]


class EventPageSerializer(serializers.Serializer[Any]):
    """A page of events; ``last_seq`` is where the stream stood when it was read."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = EventSerializer(many=True)
    last_seq = serializers.IntegerField()


class Events(ApiView):
    serializer_class = EventSerializer
    queryset = Event.objects.all()
    pagination_class = None

    @extend_schema(
        operation_id="events_list",
        parameters=[
            _AFTER,
            OpenApiParameter("workspace", str, description="Its slug; needed by who has several"),
            PAGE[0],
        ],
        responses={200: EventPageSerializer},
    )
    def get(self, request: Request) -> Response:
        """The events of a workspace after one that is known, in order and without gaps."""
        workspace = find_workspace(caller(request), request.query_params.get("workspace") or None)
        after = _read_after(request)
        stream = _stream(workspace.pk)
        if 0 < after < stream.pruned_seq:
            raise CursorTooOld(
                "The events after this one are not all kept; begin again without a cursor.",
                pruned_seq=stream.pruned_seq,
                last_seq=stream.last_seq,
            )
        events = Event.objects.filter(workspace=workspace)
        return _answer(request, events.after(max(after, stream.pruned_seq)), stream.last_seq)


class ExecutionEvents(ApiView):
    serializer_class = EventSerializer
    queryset = Event.objects.all()
    pagination_class = None

    @extend_schema(
        operation_id="executions_events_list",
        parameters=[_AFTER, PAGE[0]],
        responses={200: EventPageSerializer},
    )
    def get(self, request: Request, id: Any) -> Response:
        """The events of one run, in order; all are kept as long as the run is."""
        after = _read_after(request)
        visible = WorkflowExecution.objects.visible_to(caller(request)).only("id", "workspace_id")
        execution = get_visible(visible, pk=id)
        last = _stream(execution.workspace_id).last_seq
        events = Event.objects.filter(workspace_id=execution.workspace_id)
        return _answer(request, events.of_execution(execution.pk).after(after), last)


def _stream(workspace_id: UUID) -> EventStream:
    """Return where a stream stands, to be asked before its events are: whatever is in the table up
    to its end is committed and will be seen."""
    return EventStream.objects.filter(workspace_id=workspace_id).first() or EventStream()


def _answer(request: Request, events: EventQuerySet, last: int) -> Response:
    limit = read_limit(request)
    page = list(events.filter(seq__lte=last).order_by("seq")[: limit + 1])
    shown = [event_document(event) for event in page[:limit]]
    following = None
    if len(page) > limit:
        address = request.build_absolute_uri()
        following = replace_query_param(address, "after", str(shown[-1]["seq"]))
    return Response({"next": following, "previous": None, "results": shown, "last_seq": last})


def _read_after(request: Request) -> int:
    text = request.query_params.get("after") or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        problem = Problem("", "invalid", "A whole number, 0 or more", "/after")
        raise InvalidInput("after: a whole number.", [problem], code="invalid_cursor")
    return int(text)
