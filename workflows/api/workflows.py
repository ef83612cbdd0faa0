"""Workflows: definitions as documents, their drafts and versions."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import ApiView, caller, find_project, find_workspace, get_visible
from workflows.api.differences import ChangeItem, change_items
from workflows.api.documents import (
    NewWorkflowRequest,
    WorkflowDocument,
    split_document,
)
from workflows.api.fields import FlagField, StrictSerializer, TextField, read_input, read_object
from workflows.api.filters import InProjectFilter
from workflows.api.graphs import svg_response, version_picture
from workflows.api.idempotency import idempotent
from workflows.api.parsers import StrictJSONParser, YAMLTextParser
from workflows.api.preconditions import etag, expected_revision
from workflows.core.definition_schema import definition_schema
from workflows.core.differences import differences
from workflows.core.documents import dump_document, load_document
from workflows.core.errors import CanonicalError, Problem
from workflows.errors import Conflict, InvalidInput, StaleRevision
from workflows.models import Workflow, WorkflowVersion
from workflows.services import definitions


class WorkflowSummarySerializer(serializers.ModelSerializer[Workflow]):
    """A workflow without its definition. ``published_version`` is a number, or null."""

    workspace = serializers.CharField(source="workspace.slug")
    project = serializers.CharField(source="project.slug", allow_null=True, default=None)
    published_version = serializers.IntegerField(
        source="published_version.number", allow_null=True, default=None
    )

    class Meta:
        model = Workflow
        fields = [
            "id",
            "workspace",
            "workspace_id",
            "project",
            "project_id",
            "name",
            "description",
            "published_version",
            "draft_revision",
            "created_at",
            "updated_at",
        ]


class WorkflowSerializer(WorkflowSummarySerializer):
    """A workflow with its draft, as the definition document that PUT takes."""

    steps = serializers.ListField(child=serializers.DictField())
    variables = serializers.ListField(child=serializers.DictField())

    class Meta(WorkflowSummarySerializer.Meta):
        fields = [
            *WorkflowSummarySerializer.Meta.fields,
            "timeout_seconds",
            "max_retries",
            "config",
            "metadata",
            "variables",
            "steps",
        ]

    def to_representation(self, workflow: Workflow) -> dict[str, Any]:
        summary = WorkflowSummarySerializer(workflow, context=self.context).data
        return {**summary, **definitions.draft_document(workflow)}


class VersionSerializer(serializers.ModelSerializer[WorkflowVersion]):
    """A published version with its definition, every default spelled out."""

    published_by = serializers.CharField(
        source="published_by.username", allow_null=True, default=None
    )
    definition = serializers.DictField()

    class Meta:
        model = WorkflowVersion
        fields = ["id", "number", "definition", "digest", "published_by", "published_at"]


class PublicationSerializer(VersionSerializer):
    """A version that was published, and what changed against the one before it."""

    changes = ChangeItem(many=True)

    class Meta(VersionSerializer.Meta):
        fields = [*VersionSerializer.Meta.fields, "changes"]


class ProblemItem(serializers.Serializer[Any]):
    """Something wrong, or doubtful, in a definition."""

    step_name = serializers.CharField()
    error_type = serializers.CharField()
    message = serializers.CharField()
    path = serializers.CharField()


class ReportSerializer(serializers.Serializer[Any]):
    """Whether a definition could be saved, and all that was found in it."""

    is_valid = serializers.BooleanField()  # type: ignore[assignment]  # a field, by its name
    errors = ProblemItem(many=True)  # type: ignore[assignment]
    warnings = ProblemItem(many=True)


class ImportRequest(StrictSerializer):
    """A definition as text, as ``export/`` gives it."""

    workspace = TextField(required=False, max_length=100)
    project = TextField(required=False, max_length=100, allow_null=True, default=None)
    draft = FlagField(required=False, default=False)
    format = serializers.ChoiceField(["yaml", "json"], default="yaml")
    text = TextField()


class ImportQuery(StrictSerializer):
    """What the address says of a definition where the body is its file."""

    workspace = TextField(required=False, max_length=100)
    project = TextField(required=False, max_length=100)
    draft = serializers.ChoiceField(["true", "false"], default="false")


class WorkflowFilter(InProjectFilter):
    """``q`` looks into names and descriptions."""

    search_fields = ("name", "description")


class Workflows(ApiView):
    serializer_class = WorkflowSummarySerializer
    queryset = Workflow.objects.all()
    filterset_class = WorkflowFilter
    orderings = {"name": "name", "created_at": "created_at", "updated_at": "updated_at"}

    def get(self, request: Request) -> Response:
        """The workflows of the caller's workspaces."""
        return self.answer_page(_visible(request).defer("config", "metadata"))

    @extend_schema(request=NewWorkflowRequest, responses={201: WorkflowSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Store a definition as a new workflow, and publish it unless ``draft`` is true."""
        document, about = split_document(request.data)
        return _create(request, document, about)


class OneWorkflow(ApiView):
    serializer_class = WorkflowSerializer
    queryset = Workflow.objects.all()

    @extend_schema(operation_id="workflows_retrieve")
    def get(self, request: Request, id: Any) -> Response:
        """A workflow with its draft; the ETag is the draft's revision."""
        return _answer(get_visible(_visible(request), pk=id))

    @extend_schema(request=WorkflowDocument, operation_id="workflows_replace")
    def put(self, request: Request, id: Any) -> Response:
        """Replace the draft. ``If-Match`` refuses what was changed since it was read."""
        return self._save(request, id, definitions.replace_draft)

    @extend_schema(request=WorkflowDocument, operation_id="workflows_change")
    def patch(self, request: Request, id: Any) -> Response:
        """Replace the keys of the draft that are given, each as a whole."""
        return self._save(request, id, definitions.change_draft)

    @extend_schema(responses={204: None}, operation_id="workflows_delete")
    def delete(self, request: Request, id: Any) -> Response:
        """Delete a workflow with its ended runs; refused while any is live, and by ``If-Match``
        where the draft was changed since it was read."""
        workflow = get_visible(_visible(request), pk=id)
        definitions.delete_workflow(
            workflow, user=caller(request), expected_revision=expected_revision(request)
        )
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _save(self, request: Request, id: Any, verb: Callable[..., Workflow]) -> Response:
        given = dict(read_object(request.data))
        workflow = get_visible(_visible(request), pk=id)
        with _expecting(request, given.pop("draft_revision", None)) as expected:
            verb(workflow, given, user=caller(request), expected_revision=expected)
        return _answer(get_visible(_visible(request), pk=id))


class Publication(ApiView):
    serializer_class = PublicationSerializer
    queryset = WorkflowVersion.objects.all()

    @extend_schema(request=None, responses={200: PublicationSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Publish the draft. An unchanged one is the version that is there already. ``changes``:
        against the version before, none for the first."""
        given = dict(read_object(request.data))
        with _expecting(request, given.pop("draft_revision", None)) as expected:
            if given:
                raise InvalidInput(
                    "The body is to be empty.",
                    [Problem("", "unknown_field", "Unknown", f"/{key}") for key in given],
                )
            workflow = get_visible(_visible(request), pk=id)
            before = workflow.published_version
            version = definitions.publish(
                workflow, user=caller(request), expected_revision=expected
            )
        return Response({**VersionSerializer(version).data, "changes": _changes(before, version)})


class Versions(ApiView):
    serializer_class = VersionSerializer
    queryset = WorkflowVersion.objects.all()
    orderings = {"-number": "number"}

    def get(self, request: Request, id: Any) -> Response:
        """Every version, the latest first."""
        workflow = get_visible(_visible(request), pk=id)
        return self.answer_page(workflow.versions.select_related("published_by"))


class Export(ApiView):
    queryset = Workflow.objects.all()
    serializer_class = WorkflowDocument

    @extend_schema(
        parameters=[OpenApiParameter("format", str, enum=["yaml", "json"], default="yaml")],
        responses={
            (200, "application/yaml"): OpenApiTypes.STR,
            (200, "application/json"): WorkflowDocument,
        },
    )
    def get(self, request: Request, id: Any) -> HttpResponse:
        """The draft as a file that ``import/`` reads."""
        wanted = request.query_params.get("format", "yaml")
        if wanted not in ("yaml", "json"):
            problem = Problem("", "invalid_choice", "yaml or json", "/format")
            raise InvalidInput("format: yaml or json.", [problem])
        workflow = get_visible(_visible(request), pk=id)
        document = definitions.draft_document(workflow)
        if wanted == "yaml":
            return _file(dump_document(document, "yaml"), "application/yaml", f"{workflow.pk}.yaml")
        return Response(document)


class Validation(ApiView):
    serializer_class = ReportSerializer

    @extend_schema(request=NewWorkflowRequest, responses={200: ReportSerializer})
    def post(self, request: Request) -> Response:
        """Check a definition and save nothing."""
        document, about = split_document(request.data)
        workspace = find_workspace(caller(request), about.get("workspace"))
        report = definitions.validate_document(document, workspace=workspace)
        return Response(self.get_serializer(report).data)


_OF_A_FILE = "Where the body is the file itself"


class Import(ApiView):
    serializer_class = WorkflowSerializer
    parser_classes = [StrictJSONParser, YAMLTextParser]
    queryset = Workflow.objects.all()

    @extend_schema(
        parameters=[
            OpenApiParameter("workspace", str, description=_OF_A_FILE),
            OpenApiParameter("project", str, description=_OF_A_FILE),
            OpenApiParameter("draft", bool, description=_OF_A_FILE),
        ],
        request={
            "application/json": PolymorphicProxySerializer(
                "ImportBody", [WorkflowDocument, ImportRequest], resource_type_field_name=None
            ),
            "application/yaml": OpenApiTypes.STR,
        },
        responses={201: WorkflowSerializer},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Store a definition from YAML or JSON as a new workflow.

        The body is the file itself, as ``export/`` gives it, or an object with its ``text``. It
        may be as long as a definition, which is longer than other bodies may be.
        """
        given = read_object(request.data)
        if request.content_type.lower().startswith(YAMLTextParser.media_type):
            given = {**given, **_asked_of_import(request)}
        elif "steps" in given:
            return _create(request, given, _asked_of_import(request))
        about = read_input(ImportRequest, given)
        return _create(request, _read_text(about["text"], about["format"]), about)


class WorkflowGraph(ApiView):
    queryset = Workflow.objects.all()
    serializer_class = WorkflowSummarySerializer

    @extend_schema(responses={(200, "image/svg+xml"): OpenApiTypes.STR})
    def get(self, request: Request, id: Any) -> HttpResponse:
        """The draft's picture."""
        workflow = get_visible(_visible(request), pk=id)
        return svg_response(version_picture(definitions.draft_document(workflow)))


class DefinitionSchema(ApiView):
    """For everybody: editors cannot sign in, and it tells nothing of anybody's workflows."""

    permission_classes = []
    queryset = Workflow.objects.none()
    serializer_class = WorkflowDocument

    @extend_schema(responses={(200, "application/schema+json"): OpenApiTypes.OBJECT})
    def get(self, request: Request) -> HttpResponse:
        """The JSON Schema of a definition (Draft 2020-12), for editors; null is the default."""
        text = json.dumps(definition_schema(), ensure_ascii=False)
        headers = {"Cache-Control": "public, max-age=3600"}
        return HttpResponse(text, content_type="application/schema+json", headers=headers)


def _visible(request: Request) -> Any:
    return (
        Workflow.objects.visible_to(caller(request))
        .select_related("workspace", "project", "published_version")
        .defer("published_version__definition", "workspace__settings")
    )


def _changes(before: WorkflowVersion | None, version: WorkflowVersion) -> list[dict[str, Any]]:
    """Return what publishing has changed: nothing where it made no version, or the first."""
    if before is None or before.pk == version.pk:
        return []
    return change_items(differences(before.definition, version.definition))


def _create(request: Request, document: Any, about: dict[str, Any]) -> Response:
    workspace = find_workspace(caller(request), about.get("workspace"))
    workflow = definitions.create_workflow(
        workspace=workspace,
        document=document,
        user=caller(request),
        project=find_project(workspace, about.get("project")),
        publish=not about.get("draft", False),
    )
    answer = _answer(workflow, status.HTTP_201_CREATED)
    answer["Location"] = request.build_absolute_uri(f"/api/v1/workflows/{workflow.pk}/")
    return answer


def _answer(workflow: Workflow, code: int = status.HTTP_200_OK) -> Response:
    headers = {"ETag": etag(workflow.draft_revision)}
    return Response(WorkflowSerializer(workflow).data, status=code, headers=headers)


@contextmanager
def _expecting(request: Request, in_body: Any) -> Iterator[int | None]:
    """Give the revision that the client expects: stale in ``If-Match`` is 412, in the body alone
    409."""
    if in_body is not None and (isinstance(in_body, bool) or not isinstance(in_body, int)):
        problem = Problem("", "wrong_type", "A whole number", "/draft_revision")
        raise InvalidInput("draft_revision: a whole number.", [problem])
    in_header = expected_revision(request)
    if in_header is not None:
        if in_body not in (None, in_header):
            raise StaleRevision(
                "If-Match and draft_revision name two revisions, one of which is stale."
                " Read the draft again."
            )
        yield in_header
        return
    try:
        yield in_body
    except StaleRevision as stale:
        raise Conflict(stale.message, code=stale.code, **stale.facts) from None


def _asked_of_import(request: Request) -> dict[str, Any]:
    """Return what stands in the address where the body is a file."""
    asked = read_input(ImportQuery, request.query_params.dict())
    return {**asked, "draft": asked["draft"] == "true"}


def _read_text(text: str, format: Literal["yaml", "json"]) -> Any:
    try:
        return load_document(text, format, definitions.definition_limits())
    except CanonicalError as error:
        problem = Problem("", error.code, error.message, "/text")
        raise InvalidInput(
            f"The document cannot be read: {error.message}.", [problem], code=error.code
        ) from None


def _file(text: str, content_type: str, name: str) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(text, content_type=f"{content_type}; charset=utf-8", headers=headers)
