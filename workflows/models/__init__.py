"""The tables of the ``workflows`` app, one noun a module."""

from workflows.models.access import ApiToken, IdempotencyKey
from workflows.models.definitions import (
    Workflow,
    WorkflowStep,
    WorkflowVariable,
    WorkflowVersion,
)
from workflows.models.engine import EngineDriver, Timer
from workflows.models.events import Event, EventStream
from workflows.models.executions import Signal, WorkflowExecution, WorkflowStepExecution
from workflows.models.limits import QueueLimit, QueueSlot
from workflows.models.schedules import WorkflowSchedule
from workflows.models.tenants import Membership, Project, Role, User, Workspace
from workflows.models.webhooks import SigningSecret, StreamCursor, WebhookDelivery, WebhookEndpoint

__all__ = [
    "ApiToken",
    "EngineDriver",
    "Event",
    "EventStream",
    "IdempotencyKey",
    "Membership",
    "Project",
    "QueueLimit",
    "QueueSlot",
    "Role",
    "Signal",
    "SigningSecret",
    "StreamCursor",
    "Timer",
    "User",
    "WebhookDelivery",
    "WebhookEndpoint",
    "Workflow",
    "WorkflowExecution",
    "WorkflowSchedule",
    "WorkflowStep",
    "WorkflowStepExecution",
    "WorkflowVariable",
    "WorkflowVersion",
    "Workspace",
]
