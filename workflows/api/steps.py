"""The steps of a run: those that have moved, and those that will."""

import re
from bisect import bisect_left
from typing import Any, NamedTuple
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from workflows.api.base import ApiView, caller, get_visible
from workflows.api.pagination import PAGE, Cursor, bad_cursor, read_limit
from workflows.core.ids import step_execution_id
from workflows.core.names import name_in_definition
from workflows.core.states import StepStatus
from workflows.models import WorkflowExecution, WorkflowStepExecution
from workflows.pages.graphs import every_step

STATUSES = [status.value for status in StepStatus]
_CURSOR = "steps"
_NUMBER = re.compile(r"\[(\d+)\]")


class StepExecutionSerializer(serializers.ModelSerializer[WorkflowStepExecution]):
    """A step of a run, in one revision. One that was sent back has the `feedback`, and since when
    it is done anew."""

    class Meta:
        model = WorkflowStepExecution
        fields = [
            "id",
            "name",
            "step_type",
            "status",
            "revision",
            "feedback",
            "revised_at",
            "attempts",
            "input_data",
            "output_data",
            "error_code",
            "error_message",
            "skip_reason",
            "agent_instance_id",
            "due_at",
            "started_at",
            "completed_at",
        ]


class StepPageSerializer(serializers.Serializer[Any]):
    """A page of steps."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = StepExecutionSerializer(many=True)


class _Place(NamedTuple):
    """Where a step stands in the list: by the definition, the round of its block, the revision."""

    position: int
    rounds: tuple[int, ...]
    revision: int
    id: UUID
    name: str
    step_type: str


def steps_of(execution: WorkflowExecution) -> list[_Place]:
    """Return every step of a run in the definition's order, whether its row exists or not."""
    steps = every_step(execution.version.definition["steps"])
    position = {step["name"]: i for i, step in enumerate(steps)}
    rows = WorkflowStepExecution.objects.filter(execution=execution)
    places = []
    for id, name, revision, step_type in rows.values_list("id", "name", "revision", "step_type"):
        plain = name_in_definition(name, position)
        rounds = tuple(map(int, _NUMBER.findall(name[len(plain) :])))
        places.append(_Place(position[plain], rounds, revision, id, name, step_type))
    moved = {place.name for place in places}
    places += [
        _Place(
            position[step["name"]],
            (),
            1,
            step_execution_id(execution.pk, step["name"], 1),
            step["name"],
            step["step_type"],
        )
        for step in execution.version.definition["steps"]
        if step["name"] not in moved
    ]
    return sorted(places)


class Steps(ApiView):
    serializer_class = StepExecutionSerializer
    queryset = WorkflowStepExecution.objects.all()
    pagination_class = None

    @extend_schema(
        operation_id="executions_steps_list", parameters=PAGE, responses={200: StepPageSerializer}
    )
    def get(self, request: Request, id: Any) -> Response:
        """The steps in the definition's order; one that has not moved yet is pending.

        A step that had not moved when its run ended is cancelled.
        """
        execution = get_visible(
            WorkflowExecution.objects.visible_to(caller(request)).select_related("version"), pk=id
        )
        places = steps_of(execution)
        limit = read_limit(request)
        first, last = _window(places, request.query_params.get("cursor"), limit)
        page = places[first:last]
        rows = WorkflowStepExecution.objects.in_bulk([place.id for place in page])
        shown = [rows.get(place.id) or _unmoved(place, execution) for place in page]
        return Response(
            {
                "next": _link(request, places, last - 1, False) if last < len(places) else None,
                "previous": _link(request, places, first, True) if first > 0 else None,
                "results": self.get_serializer(shown, many=True).data,
            }
        )


def _window(places: list[_Place], text: str | None, limit: int) -> tuple[int, int]:
    if not text:
        return 0, min(limit, len(places))
    cursor = Cursor.decode(text)
    if cursor.ordering != _CURSOR or not isinstance(cursor.value, int):
        raise bad_cursor()
    try:
        *rounds, revision = map(int, str(cursor.key).split("."))
    except ValueError:
        raise bad_cursor() from None
    key = (cursor.value, tuple(rounds), revision)
    at = bisect_left(places, key, key=lambda place: place[:3])
    if cursor.is_backwards:
        return max(0, at - limit), at
    first = at + 1 if at < len(places) and places[at][:3] == key else at
    return first, min(first + limit, len(places))


def _link(request: Request, places: list[_Place], at: int, is_backwards: bool) -> str:
    place = places[at]
    key = ".".join(map(str, (*place.rounds, place.revision)))
    cursor = Cursor(_CURSOR, place.position, key, is_backwards)
    address = request.build_absolute_uri()
    return str(replace_query_param(address, "cursor", cursor.encode()))


def _unmoved(place: _Place, execution: WorkflowExecution) -> WorkflowStepExecution:
    """Return the row that a step has not got, because nothing has happened to it."""
    return WorkflowStepExecution(
        id=place.id,
        execution=execution,
        name=place.name,
        step_type=place.step_type,
        revision=place.revision,
        status=StepStatus.CANCELLED if execution.is_ended else StepStatus.PENDING,
        completed_at=execution.completed_at,
    )
