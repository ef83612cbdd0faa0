"""What happened: one append-only table, and its counter a workspace."""

from uuid import UUID

from django.db import models

from workflows.core.ids import event_id
from workflows.models.fields import CheckedJSONField
from workflows.models.tenants import Workspace
from workflows.querysets import EventQuerySet


class EventStream(models.Model):
    """The counter of a workspace's events, taken as the last lock of each transaction.

    So sequence numbers are contiguous and in commit order: a reader that asks for what comes
    after ``seq`` misses nothing. Up to ``pruned_seq`` old events were deleted, and no reader of the
    stream can begin there; those of runs that are kept are still there, as the run's own.
    """

    workspace = models.OneToOneField(
        Workspace, on_delete=models.CASCADE, primary_key=True, related_name="event_stream"
    )
    last_seq = models.BigIntegerField(default=0)
    pruned_seq = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.workspace} at {self.last_seq}"


class Event(models.Model):
    """One line of what happened.

    What it is about is named by identifier, not by foreign key: an event outlives its subject,
    and its writer pays for no look-up. Outside, its id follows from workspace and number.
    """

    workspace = models.ForeignKey(
        Workspace,
        on_delete=models.CASCADE,
        related_name="events",
        db_index=False,
        db_constraint=False,
    )
    seq = models.BigIntegerField()
    event_type = models.CharField(max_length=50)
    timestamp = models.DateTimeField()
    workflow_id = models.UUIDField(null=True)
    workflow_execution_id = models.UUIDField(null=True)
    workflow_step_id = models.UUIDField(null=True)
    approval_id = models.UUIDField(null=True)
    agent_id = models.UUIDField(null=True)
    actor = models.CharField(max_length=200)
    data = CheckedJSONField(default=dict)
    message = models.TextField(blank=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ["seq"]
        constraints = [
            models.UniqueConstraint(fields=["workspace", "seq"], name="event_seq_unique")
        ]
        indexes = [models.Index(fields=["workflow_execution_id", "seq"], name="event_of_execution")]

    def __str__(self) -> str:
        return f"{self.seq} {self.event_type}"

    @property
    def uuid(self) -> UUID:
        """The event's identifier outside this database."""
        return event_id(self.workspace_id, self.seq)
