"""Definition documents in bodies: their schema, and what stands beside them."""

from typing import Any

from rest_framework import serializers

from workflows.api.fields import FlagField, StrictSerializer, TextField, read_input, read_object


class WorkflowDocument(StrictSerializer):
    """A definition; the keys of steps and variables are checked as a whole on saving."""

    name = TextField(max_length=200)
    description = TextField(required=False, allow_blank=True, max_length=10_000)
    timeout_seconds = serializers.IntegerField(required=False, allow_null=True, min_value=1)
    max_retries = serializers.IntegerField(required=False, allow_null=True, min_value=0)
    config = serializers.DictField(required=False, allow_null=True)
    metadata = serializers.DictField(required=False, allow_null=True)
    variables = serializers.ListField(
        child=serializers.DictField(), required=False, allow_null=True
    )
    steps = serializers.ListField(child=serializers.DictField(), allow_empty=False)


class AboutRequest(StrictSerializer):
    """What stands beside a document: where it goes, and whether it is only a draft."""

    workspace = TextField(required=False, max_length=100)
    project = TextField(required=False, max_length=100, allow_null=True)
    draft = FlagField(required=False)


class NewWorkflowRequest(WorkflowDocument, AboutRequest):
    """A definition with the workspace that it is for."""


def split_document(data: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the definition in a body, and what stands beside it, which alone is checked here.

    Raises:
        InvalidInput, ValidationError: the body is no object, or what stands beside is wrong.
    """
    body = read_object(data)
    beside = AboutRequest().fields
    about = read_input(AboutRequest, {key: body[key] for key in body if key in beside})
    return {key: body[key] for key in body if key not in beside}, about
