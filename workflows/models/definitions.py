"""Workflows: the draft that people edit, and the immutable versions that run."""

from typing import Any

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models

from workflows.core.ids import uuid7
from workflows.models.tenants import Project, Workspace
from workflows.querysets import WorkflowQuerySet


class Workflow(models.Model):
    """A named definition: its draft is this row with its steps and variables.

    ``draft_revision`` counts the saves of the draft; ``last_run_number`` numbers the runs.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="workflows")
    project = models.ForeignKey(
        Project, on_delete=models.SET_NULL, null=True, blank=True, related_name="workflows"
    )
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    timeout_seconds = models.PositiveIntegerField(default=3600, validators=[MinValueValidator(1)])
    max_retries = models.PositiveIntegerField(default=3)
    config = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    draft_revision = models.PositiveIntegerField(default=1, editable=False)
    published_version = models.ForeignKey(
        "WorkflowVersion", on_delete=models.PROTECT, null=True, editable=False, related_name="+"
    )
    last_run_number = models.PositiveIntegerField(default=0, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = WorkflowQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "name"], name="workflow_name_unique_in_workspace"
            )
        ]

    def __str__(self) -> str:
        return self.name


class WorkflowVariable(models.Model):
    """An input of the draft."""

    DATA_TYPES = [(t, t) for t in ("string", "int", "float", "bool", "json")]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="variables")
    position = models.PositiveIntegerField(default=0)
    name = models.CharField(max_length=200)
    data_type = models.CharField(max_length=10, choices=DATA_TYPES, default="string")
    is_required = models.BooleanField(default=False)
    default_value = models.JSONField(null=True, blank=True)
    description = models.TextField(blank=True)

    class Meta:
        ordering = ["position", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workflow", "name"], name="variable_name_unique_in_workflow"
            )
        ]

    def __str__(self) -> str:
        return self.name

    def document(self) -> dict[str, Any]:
        """Return the variable as it stands in a definition document."""
        return {
            "name": self.name,
            "data_type": self.data_type,
            "is_required": self.is_required,
            "default_value": self.default_value,
            "description": self.description,
        }


class WorkflowStep(models.Model):
    """A step of the draft; its columns are the keys of the definition document."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveIntegerField(default=0)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    step_type = models.CharField(max_length=50)
    step_order = models.PositiveIntegerField(null=True, blank=True)
    depends_on_steps = models.JSONField(default=list, blank=True)
    condition_expression = models.TextField(blank=True)
    trigger_rule = models.CharField(max_length=40, default="all_success")
    timeout_seconds = models.PositiveIntegerField(null=True, blank=True)
    max_retries = models.PositiveIntegerField(null=True, blank=True)
    agent_definition_id = models.CharField(max_length=100, blank=True)
    agent_instance_id = models.CharField(max_length=100, blank=True)
    config = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["position", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workflow", "name"], name="step_name_unique_in_workflow"
            )
        ]

    def __str__(self) -> str:
        return self.name

    #: Keys that stand in the document only where they say something.
    OPTIONAL_KEYS = (
        "step_order",
        "timeout_seconds",
        "max_retries",
        "condition_expression",
        "agent_definition_id",
        "agent_instance_id",
        "metadata",
        "description",
    )

    def document(self) -> dict[str, Any]:
        """Return the step as it stands in a definition document."""
        document: dict[str, Any] = {
            "name": self.name,
            "step_type": self.step_type,
            "depends_on_steps": self.depends_on_steps,
            "trigger_rule": self.trigger_rule,
            "config": self.config,
        }
        for key in self.OPTIONAL_KEYS:
            if (value := getattr(self, key)) not in (None, "", {}):
                document[key] = value
        return document


class WorkflowVersion(models.Model):
    """An immutable, validated, numbered snapshot; executions are pinned to one."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    definition = models.JSONField()
    digest = models.CharField(max_length=64)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    published_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["workflow", "number"], name="version_number_unique_in_workflow"
            )
        ]

    def __str__(self) -> str:
        return f"{self.workflow} version {self.number}"
