"""When workflows start by themselves."""

from django.conf import settings
from django.db import models

from workflows.core.ids import uuid7
from workflows.models.definitions import Workflow
from workflows.querysets import ScheduleQuerySet


class WorkflowSchedule(models.Model):
    """Starts runs of a workflow by the clock: ``cron`` in five fields, in the ``timezone``.

    A timer of the engine starts each run, in the transaction that sets ``next_at``, so a moment
    starts one run and no more. Moments that passed while the engine was down start one run
    together.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="schedules")
    name = models.CharField(max_length=200)
    cron = models.CharField(max_length=100)
    timezone = models.CharField(max_length=50, default="UTC")
    input_variables = models.JSONField(default=dict, blank=True)
    is_active = models.BooleanField(default=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    next_at = models.DateTimeField(null=True, blank=True)
    last_started_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workflow", "name"], name="schedule_name_unique_in_workflow"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.cron}"
