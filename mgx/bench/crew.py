"""The agents of benchmarks, and attempts of steps that want one."""

from typing import Any
from uuid import uuid4

from agents.models import AgentDefinition, AgentInstance, AgentType
from mgx.bench.scene import Scene
from workflows.core.steps import AgentConfig, AgentStep
from workflows.handlers import StepContext
from workflows.models import Workspace


def hire(scene: Scene, slug: str, count: int, *, places: int, **config: Any) -> list[AgentInstance]:
    """Give the workspace agents that call the task ``bench.call``, ``places`` steps each."""
    definition = AgentDefinition.objects.create(
        name=slug.capitalize(),
        slug=slug,
        agent_type=config.pop("agent_type", AgentType.PYTHON),
        config={"task": "bench.call", **config},
    )
    return AgentInstance.objects.bulk_create(
        [
            AgentInstance(
                workspace=scene.workspace,
                definition=definition,
                name=f"{slug} {number}",
                slug=f"{slug}-{number}",
                max_concurrency=places,
            )
            for number in range(count)
        ],
        batch_size=1_000,
    )


def attempt(workspace: Workspace, wants: str, strategy: Any = "capability_match") -> StepContext:
    """Return an attempt of some step that wants an agent."""
    return StepContext(
        step_execution_id=uuid4(),
        execution_id=uuid4(),
        workflow_id=uuid4(),
        workspace_id=workspace.id,
        project_id=None,
        workflow_name="bench",
        run_number=1,
        started_by_id=None,
        name="step",
        step=AgentStep(
            name="step",
            step_type="agent",
            agent_definition_id=wants,
            config=AgentConfig(assignment_strategy=strategy),
        ),
        attempt=1,
        revision=1,
        inputs={},
    )
