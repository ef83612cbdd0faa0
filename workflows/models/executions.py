"""Runs: an execution of a version, and each of its steps."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from workflows.core.ids import uuid7
from workflows.core.states import (
    TERMINAL_EXECUTION_STATUSES,
    TERMINAL_STEP_STATUSES,
    ExecutionStatus,
    StepStatus,
)
from workflows.models.definitions import Workflow, WorkflowVersion
from workflows.models.engine import EngineDriver
from workflows.models.fields import CheckedJSONField
from workflows.models.tenants import Project, Workspace
from workflows.querysets import ExecutionQuerySet, StepExecutionQuerySet

# Sorted, for a set's own order differs from process to process.
_ENDED = sorted(s.value for s in TERMINAL_EXECUTION_STATUSES)
_LIVE = sorted(s.value for s in ExecutionStatus if s not in TERMINAL_EXECUTION_STATUSES)
_STEP_ENDED = sorted(s.value for s in TERMINAL_STEP_STATUSES)
_STEP_LIVE = sorted(s.value for s in StepStatus if s not in TERMINAL_STEP_STATUSES)


class WorkflowExecution(models.Model):
    """One run of a workflow.

    While ``driver`` is set, that driver alone writes the run's steps, and ``fence`` numbers its
    turn. ``wake_at`` says from when on a driver should look at the run; nothing wakes a run
    without one. ``active_seconds`` is the running time up to ``active_since``, the moment the
    clock was last started (null while only people are awaited). While ``is_paused`` nothing of it
    starts. ``parent_step_id`` is the step execution that it runs for, if it is a sub-workflow,
    ``depth`` how many runs are above it; ``rerun_of`` is the run whose inputs it was given again.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # A run's row is written at every turn of its life, and each index with it: only those that
    # something asks for are here.
    workspace = models.ForeignKey(
        Workspace, on_delete=models.PROTECT, related_name="executions", db_index=False
    )
    project = models.ForeignKey(
        Project, on_delete=models.SET_NULL, null=True, related_name="executions", db_index=False
    )
    workflow = models.ForeignKey(
        Workflow, on_delete=models.CASCADE, related_name="executions", db_index=False
    )
    version = models.ForeignKey(
        WorkflowVersion, on_delete=models.PROTECT, related_name="executions"
    )
    number = models.PositiveIntegerField()
    status = models.CharField(
        max_length=20,
        choices=[(s.value, s.value) for s in ExecutionStatus],
        default=ExecutionStatus.PENDING.value,
    )
    input_variables = models.JSONField(default=dict)
    output_data = models.JSONField(null=True)
    error_code = models.CharField(max_length=100, blank=True)
    error_message = models.TextField(blank=True)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
    )
    started_through = models.CharField(max_length=20, default="system")
    timeout_seconds = models.PositiveIntegerField(default=3600)
    active_seconds = models.FloatField(default=0)
    active_since = models.DateTimeField(null=True)
    driver = models.ForeignKey(
        EngineDriver,
        on_delete=models.SET_NULL,
        null=True,
        related_name="executions",
        db_index=False,
    )
    fence = models.PositiveIntegerField(default=0)
    wake_at = models.DateTimeField(null=True)
    is_paused = models.BooleanField(default=False)
    parent_step_id = models.UUIDField(null=True)
    depth = models.PositiveIntegerField(default=0)
    rerun_of = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, related_name="reruns", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)

    objects = ExecutionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workflow", "number"], name="execution_number_unique_in_workflow"
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=_ENDED,
                    completed_at__isnull=False,
                    driver__isnull=True,
                    wake_at__isnull=True,
                )
                | Q(status__in=_LIVE, completed_at__isnull=True),
                name="execution_ended_when_terminal",
            ),
        ]
        indexes = [
            models.Index(
                fields=["wake_at"],
                name="execution_runnable",
                condition=Q(driver__isnull=True, wake_at__isnull=False),
            ),
            models.Index(
                fields=["driver"], name="execution_held", condition=Q(driver__isnull=False)
            ),
            models.Index(
                fields=["parent_step_id"],
                name="execution_of_step",
                condition=Q(parent_step_id__isnull=False),
            ),
            models.Index(fields=["workspace", "-created_at"], name="execution_recent"),
            models.Index(fields=["workspace", "status", "-created_at"], name="execution_by_status"),
        ]

    def __str__(self) -> str:
        return f"{self.workflow}, run {self.number}"

    @property
    def is_ended(self) -> bool:
        """Whether the status is terminal."""
        return self.status in TERMINAL_EXECUTION_STATUSES


class WorkflowStepExecution(models.Model):
    """One step of one run, in one revision. The row is written when the step first moves.

    ``name`` is the step's name in the definition; in a block that is mapped or repeated with the
    position behind it: ``check[3]``. ``parent`` is the name of the block's own row, "" at the top.

    ``id`` follows from execution, name and revision (``step_execution_id``), so a step that has
    not moved yet can be named too. ``attempts`` is the number of the latest attempt, and with
    the execution's driver the fencing token of its result; ``crashes`` counts those whose worker
    died, ``failovers`` those that another agent took over, ``pauses`` those that stopped to ask
    people. ``due_at`` is when a retrying or waiting step goes on by itself. ``is_fallback``: what
    it came to, or does now, is its fallback's.

    A revision that does anew what people sent back has their ``feedback``, and ``revised_at``, when
    that was. A retry's revisions keep both. Steps of a block with an earlier moment than the
    block's own, or none, are those of an earlier time (``workflows/core/revisions.py``).
    """

    id = models.UUIDField(primary_key=True, editable=False)
    execution = models.ForeignKey(
        WorkflowExecution, on_delete=models.CASCADE, related_name="steps", db_index=False
    )
    name = models.CharField(max_length=300)
    parent = models.CharField(max_length=300, blank=True)
    step_type = models.CharField(max_length=50)
    revision = models.PositiveIntegerField(default=1)
    feedback = models.TextField(blank=True, default="", db_default="")
    revised_at = models.DateTimeField(null=True)
    status = models.CharField(max_length=20, choices=[(s.value, s.value) for s in StepStatus])
    attempts = models.PositiveIntegerField(default=0)
    crashes = models.PositiveIntegerField(default=0)
    failovers = models.PositiveIntegerField(default=0, db_default=0)
    pauses = models.PositiveIntegerField(default=0, db_default=0)
    input_data = CheckedJSONField(null=True)
    output_data = CheckedJSONField(null=True)
    error_code = models.CharField(max_length=100, blank=True)
    error_message = models.TextField(blank=True)
    skip_reason = models.CharField(max_length=40, blank=True)
    agent_instance_id = models.UUIDField(null=True)
    is_fallback = models.BooleanField(default=False)
    due_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)

    objects = StepExecutionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["execution", "name", "revision"],
                name="step_execution_unique_revision",
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=_STEP_ENDED,
                    completed_at__isnull=False,
                )
                | Q(status__in=_STEP_LIVE, completed_at__isnull=True),
                name="step_execution_ended_when_terminal",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Signal(models.Model):
    """An event posted to a run from outside, for a step of type ``wait`` that waits for ``name``.

    It is kept until one takes it, so that an early one is not lost.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    execution = models.ForeignKey(
        WorkflowExecution, on_delete=models.CASCADE, related_name="signals"
    )
    name = models.CharField(max_length=200)
    data = models.JSONField(null=True)
    sent_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    received_at = models.DateTimeField()
    taken_by_step_id = models.UUIDField(null=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.name
