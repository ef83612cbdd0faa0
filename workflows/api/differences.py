"""What differs between two versions of a workflow, or a version and the draft."""

from collections.abc import Iterable
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import ApiView, caller, get_visible
from workflows.core.differences import Change, differences
from workflows.core.errors import Problem, json_pointer
from workflows.errors import InvalidInput, NotVisible
from workflows.models import Workflow
from workflows.services.definitions import draft_document

DRAFT = "draft"


@extend_schema_field(OpenApiTypes.ANY)
class AnyValueField(serializers.Field[Any, Any, Any, Any]):
    """A JSON value as it is."""

    def to_representation(self, value: Any) -> Any:
        return value


class ChangeItem(serializers.Serializer[Any]):
    """One place that differs. ``path`` is a JSON pointer into the step ``step_name``, or into the
    workflow where that is empty; there variables stand under their names. A step that moved says
    in which block it stands and after which step. Long values are texts, cut to a stretch around
    the first place at which they differ; "…" stands where something is left out."""

    kind = serializers.ChoiceField(["added", "removed", "changed", "moved"])
    step_name = serializers.CharField(allow_blank=True)
    path = serializers.CharField(allow_blank=True)
    before = AnyValueField()
    after = AnyValueField()


class DifferencesSerializer(serializers.Serializer[Any]):
    """``from`` and ``to`` are the number of a version, or ``draft``."""

    changes = ChangeItem(many=True)

    def get_fields(self) -> dict[str, Any]:
        ends = {name: serializers.CharField() for name in ("from", "to")}
        return {**ends, **super().get_fields()}


class Differences(ApiView):
    queryset = Workflow.objects.all()
    serializer_class = DifferencesSerializer

    @extend_schema(
        parameters=[
            OpenApiParameter("from", str, description="A version's number, or draft; the latest"),
            OpenApiParameter("to", str, description="A version's number, or draft", default=DRAFT),
        ]
    )
    def get(self, request: Request, id: Any) -> Response:
        """What would have to be changed in one version, or the draft, to make it another."""
        workflow = get_visible(_visible(request), pk=id)
        version = workflow.published_version
        before = request.query_params.get("from", str(version.number) if version else DRAFT)
        after = request.query_params.get("to", DRAFT)
        found = differences(_document(workflow, "from", before), _document(workflow, "to", after))
        return Response({"from": before, "to": after, "changes": change_items(found)})


def change_items(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Return changes as ``ChangeItem`` tells them."""
    return [
        {
            "kind": change.kind,
            "step_name": change.step_name,
            "path": json_pointer(change.path),
            "before": change.before,
            "after": change.after,
        }
        for change in (each.bounded() for each in changes)
    ]


def _visible(request: Request) -> Any:
    return Workflow.objects.visible_to(caller(request)).select_related("published_version")


def _document(workflow: Workflow, parameter: str, wanted: str) -> dict[str, Any]:
    """Return the definition that a parameter names.

    Raises:
        InvalidInput: it is neither a number nor ``draft``.
        NotVisible: there is no such version.
    """
    if wanted == DRAFT:
        return draft_document(workflow)
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 10):
        problem = Problem(
            "", "invalid_choice", "The number of a version, or draft", f"/{parameter}"
        )
        raise InvalidInput(f"{parameter}: the number of a version, or draft.", [problem])
    version = workflow.versions.filter(number=int(wanted)).first()
    if version is None:
        raise NotVisible(f"There is no version {wanted} of this workflow.")
    definition: dict[str, Any] = version.definition
    return definition
