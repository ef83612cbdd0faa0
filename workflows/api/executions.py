"""Runs: start, start many, look. What else can be done with one is in ``verbs``."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import ApiView, as_uuid, caller, find_project, find_workspace, get_visible
from workflows.api.fields import ObjectField, StrictSerializer, TextField, read_input
from workflows.api.filters import Choices, InProjectFilter, filters
from workflows.api.graphs import svg_response, version_picture
from workflows.api.idempotency import idempotent
from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem
from workflows.core.states import ExecutionStatus, StepStatus
from workflows.errors import InvalidInput, NotVisible
from workflows.models import Project, Workflow, WorkflowExecution, WorkflowStepExecution
from workflows.services import executions

STATUSES = [status.value for status in ExecutionStatus]
DOOR = "api"
MAX_BATCH = 1_000
#: Results beyond this many bytes are left out of one answer; ``steps/`` has them all.
MAX_RESULT_BYTES = 4 * 1024 * 1024


class ExecutionSummarySerializer(serializers.ModelSerializer[WorkflowExecution]):
    """A run, without what went in and came out."""

    workspace = serializers.CharField(source="workspace.slug")
    project = serializers.CharField(source="project.slug", allow_null=True, default=None)
    workflow = serializers.CharField(source="workflow.name")
    version = serializers.IntegerField(source="version.number")
    started_by = serializers.CharField(source="started_by.username", allow_null=True, default=None)

    class Meta:
        model = WorkflowExecution
        fields = [
            "id",
            "workspace",
            "workspace_id",
            "project",
            "project_id",
            "workflow",
            "workflow_id",
            "version",
            "number",
            "status",
            "error_code",
            "error_message",
            "started_by",
            "started_through",
            "rerun_of_id",
            "timeout_seconds",
            "created_at",
            "started_at",
            "completed_at",
        ]


class ExecutionSerializer(ExecutionSummarySerializer):
    """A run. ``context`` is what its references see; ``results`` the outputs of completed steps.

    ``results_complete`` is false where the outputs are too large for one answer.
    """

    results = serializers.DictField()
    results_complete = serializers.BooleanField()
    context = serializers.DictField()  # type: ignore[assignment]  # a field, by its name

    class Meta(ExecutionSummarySerializer.Meta):
        fields = [
            *ExecutionSummarySerializer.Meta.fields,
            "input_variables",
            "output_data",
            "results",
            "results_complete",
            "context",
        ]

    def to_representation(self, execution: WorkflowExecution) -> dict[str, Any]:
        results, is_complete = results_of(execution)
        return {
            **ExecutionSummarySerializer(execution).data,
            "input_variables": execution.input_variables,
            "output_data": execution.output_data,
            "results": results,
            "results_complete": is_complete,
            "context": _context(execution),
        }


class StartTarget(StrictSerializer):
    """What to start. ``workflow``: its id, or its name in the workspace."""

    workflow = TextField(max_length=200)
    workspace = TextField(required=False, max_length=100)
    project = TextField(required=False, max_length=100, allow_null=True, default=None)


class StartRequest(StartTarget):
    """A run to be started."""

    input_variables = ObjectField(required=False, default=dict)


class BatchRequest(StartTarget):
    """Runs of one workflow, one for each of ``input_variables``."""

    input_variables = serializers.ListField(child=ObjectField(), min_length=1, max_length=MAX_BATCH)


class BatchSerializer(serializers.Serializer[Any]):
    """The runs that were started, in the order of their inputs."""

    results = ExecutionSummarySerializer(many=True)


class ExecutionFilter(InProjectFilter):
    """``status``: several with commas between; ``workflow``: id or name; ``q``: in its name."""

    search_fields = ("workflow__name",)

    status = Choices(choices=[(status, status) for status in STATUSES])
    workflow = filters.CharFilter(method="of_workflow", max_length=200)

    def of_workflow(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        identifier = as_uuid(value)
        if identifier:
            return queryset.filter(workflow_id=identifier)
        return queryset.filter(workflow__name=value)


class Executions(ApiView):
    serializer_class = ExecutionSummarySerializer
    queryset = WorkflowExecution.objects.all()
    filterset_class = ExecutionFilter
    orderings = {"-created_at": "created_at", "number": "number"}

    def get(self, request: Request) -> Response:
        """The runs of the caller's workspaces, the latest first."""
        return self.answer_page(
            visible_runs(request).defer(*LARGE, "input_variables", "output_data")
        )

    @extend_schema(request=StartRequest, responses={201: ExecutionSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Start a run of the published version."""
        given = read_input(StartRequest, request.data)
        workflow, project = _what_to_start(request, given)
        execution = executions.start_execution(
            workflow,
            input_variables=given["input_variables"],
            user=caller(request),
            door=DOOR,
            project=project,
        )
        return answer_started(request, execution)


class Batch(ApiView):
    serializer_class = BatchSerializer

    @extend_schema(request=BatchRequest, responses={201: BatchSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Start many runs of one workflow: all of them or, if any input is wrong, none."""
        given = read_input(BatchRequest, request.data)
        workflow, project = _what_to_start(request, given)
        inputs = given["input_variables"]
        try:
            started = executions.start_executions(
                workflow, inputs, user=caller(request), door=DOOR, project=project
            )
        except InvalidInput as error:
            raise _point_into_list(error, len(inputs)) from None
        shown = self.get_serializer({"results": started}).data
        return Response(shown, status=status.HTTP_201_CREATED)


class OneExecution(ApiView):
    serializer_class = ExecutionSerializer
    queryset = WorkflowExecution.objects.all()

    @extend_schema(operation_id="executions_retrieve")
    def get(self, request: Request, id: Any) -> Response:
        """A run with its status, its results and its context."""
        execution = get_visible(visible_runs(request).defer(*LARGE), pk=id)
        return Response(self.get_serializer(execution).data)


class ExecutionGraph(ApiView):
    queryset = WorkflowExecution.objects.all()
    serializer_class = ExecutionSummarySerializer

    @extend_schema(responses={(200, "image/svg+xml"): OpenApiTypes.STR})
    def get(self, request: Request, id: Any) -> HttpResponse:
        """The picture of a run, each step with its status."""
        execution = get_visible(visible_runs(request), pk=id)
        steps = WorkflowStepExecution.objects.filter(execution=execution).order_by("revision")
        statuses = dict(steps.values_list("name", "status"))
        for step in execution.version.definition["steps"]:
            statuses.setdefault(step["name"], StepStatus.PENDING.value)
        return svg_response(version_picture(execution.version.definition, statuses))


#: What no answer about a run tells.
LARGE = ("version__definition", "workflow__config", "workflow__metadata", "workspace__settings")


def results_of(execution: WorkflowExecution) -> tuple[dict[str, Any], bool]:
    """Return the outputs of the completed steps by name, as many as fit, and whether all do."""
    done = WorkflowStepExecution.objects.filter(execution=execution, status=StepStatus.COMPLETED)
    results: dict[str, Any] = {}
    size = 0
    rows = done.order_by("revision", "started_at").values_list("name", "output_data")
    for name, output in rows.iterator(chunk_size=20):
        size += len(dumps_canonical(output, max_bytes=MAX_RESULT_BYTES))
        if size > MAX_RESULT_BYTES:
            return results, False
        results[name] = output
    return results, True


def _context(execution: WorkflowExecution) -> dict[str, Any]:
    starter = execution.started_by
    return {
        "variables": execution.input_variables,
        "execution": {
            "id": str(execution.pk),
            "number": execution.number,
            "started_by": starter.username if starter else None,
        },
    }


def answer_started(request: Request, execution: WorkflowExecution) -> Response:
    """Answer with a run that was just started, and with its address."""
    location = request.build_absolute_uri(f"/api/v1/executions/{execution.pk}/")
    return Response(
        ExecutionSerializer(execution).data,
        status=status.HTTP_201_CREATED,
        headers={"Location": location},
    )


def visible_runs(request: Request) -> Any:
    """Return the runs that the caller sees, with what an answer tells of them."""
    return WorkflowExecution.objects.visible_to(caller(request)).select_related(
        "workspace", "project", "workflow", "version", "started_by"
    )


def _what_to_start(request: Request, given: dict[str, Any]) -> tuple[Workflow, Project | None]:
    """Return the workflow and the project that a body names."""
    workflows = Workflow.objects.visible_to(caller(request)).select_related("workspace", "project")
    identifier = as_uuid(given["workflow"])
    if identifier is not None:
        workflow = get_visible(workflows, pk=identifier)
        if given.get("workspace") not in (None, workflow.workspace.slug):
            raise NotVisible("There is no such workflow in this workspace.")
    else:
        workspace = find_workspace(caller(request), given.get("workspace"))
        workflow = get_visible(workflows, workspace=workspace, name=given["workflow"])
    return workflow, find_project(workflow.workspace, given["project"])


def _point_into_list(error: InvalidInput, count: int) -> InvalidInput:
    """Turn the service's pointers (``/3/input_variables/x``) into the body's."""
    problems = []
    for problem in error.problems:
        index, rest = "0", problem.path
        if count > 1:
            _, index, rest = problem.path.split("/", 2)
            rest = f"/{rest}"
        path = f"/input_variables/{index}{rest.removeprefix('/input_variables')}"
        problems.append(Problem(problem.step_name, problem.error_type, problem.message, path))
    return InvalidInput(error.message, problems, code=error.code)
