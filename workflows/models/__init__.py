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
from workflows.models.executions import WorkflowExecution, WorkflowStepExecution
from workflows.models.tenants import Membership, Project, Role, User, Workspace

__all__ = [
    "ApiToken",
    "EngineDriver",
    "Event",
    "EventStream",
    "IdempotencyKey",
    "Membership",
    "Project",
    "Role",
    "Timer",
    "User",
    "Workflow",
    "WorkflowExecution",
    "WorkflowStep",
    "WorkflowStepExecution",
    "WorkflowVariable",
    "WorkflowVersion",
    "Workspace",
]
