"""Steps of type ``agent``: an agent is assigned and holds a place while it runs."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from agents.backends import backend
from agents.services.assignment import Assigned, release, reserve
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.events import EventDraft
from workflows.handlers import NotYet, Prepared, StepContext


class AgentHandler:
    """Reserves an agent in the transaction of the step's start, and runs it on the loop."""

    def prepare(
        self, contexts: Sequence[StepContext], now: datetime
    ) -> list[Prepared | NotYet | Failed]:
        """Assign an agent to each attempt, in order."""
        return [
            Prepared(answer, answer.agent_instance_id, answer.name)
            if isinstance(answer, Assigned)
            else answer
            for answer in reserve(contexts, now)
        ]

    async def run(self, context: StepContext) -> Outcome:
        """Let the agent answer the step's inputs."""
        assigned = context.prepared
        assert isinstance(assigned, Assigned)
        return Completed(await backend(assigned.agent_type).run(assigned.config, context))

    def settle(
        self, ended: Sequence[tuple[UUID, int, Outcome | None]], now: datetime
    ) -> list[EventDraft]:
        """Give back the agents' places."""
        release(ended, now)
        return []
