"""What a backend is given, without an engine around it."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from agents.backends import backend
from agents.services.assignment import Assigned
from workflows.core.steps import AgentStep
from workflows.handlers import StepContext

STEP_ID = UUID("01936d00-0000-7000-8000-000000000001")


def context_of(agent_type: str, config: dict[str, Any], **fields: Any) -> StepContext:
    """Return what a step knows whose agent has this config."""
    step = {"name": "ask", "step_type": "agent", "agent_definition_id": "worker"}
    given: dict[str, Any] = {
        "step_execution_id": STEP_ID,
        "execution_id": uuid4(),
        "workflow_id": uuid4(),
        "workspace_id": uuid4(),
        "project_id": None,
        "workflow_name": "Deployment",
        "run_number": 7,
        "started_by_id": None,
        "name": "ask",
        "step": AgentStep.model_validate(step),
        "attempt": 1,
        "revision": 1,
        "inputs": {},
        "prepared": Assigned(uuid4(), "Worker", agent_type, config),
    }
    return StepContext(**given | fields)


def ask(agent_type: str, config: dict[str, Any], **fields: Any) -> Any:
    """Return what an agent answers."""
    context = context_of(agent_type, config, **fields)
    return asyncio.run(backend(agent_type).run(config, context))
