"""Steps of type ``agent``: an agent is assigned and holds a place while it runs."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from agents.backends import backend
from agents.faults import InputFault, fault_in
from agents.services.assignment import Assigned, reserve
from agents.services.heartbeats import note_life_of_steps
from agents.services.messages import said_of
from agents.services.offered_tools import tell_tools
from agents.services.pauses import take_up
from agents.services.remembering import tell_memories
from agents.services.settling import release
from agents.work import work_of
from workflows.core.outcomes import Asks, Completed, Failed, Outcome
from workflows.events import EventDraft
from workflows.handlers import Answer, Ended, Prepared, StepContext

_MAX_MESSAGE = 2_000


class AgentHandler:
    """Reserves an agent in the transaction of the step's start, and runs it on the loop."""

    def prepare(self, contexts: Sequence[StepContext], now: datetime) -> list[Answer]:
        """Assign an agent to each attempt, in order, and tell it what it remembers and
        what it is offered."""
        memos = take_up(contexts)
        answers = reserve(contexts, now)
        assigned = [
            (context, answer)
            for context, answer in zip(contexts, answers, strict=True)
            if isinstance(answer, Assigned)
        ]
        tell_memories(assigned, now)
        tell_tools(assigned)
        for context, agent in assigned:
            agent.memo = memos.get(context.step_execution_id)
        return [
            Prepared(answer, answer.agent_instance_id, answer.name, answer.takes_over_from)
            if isinstance(answer, Assigned)
            else answer
            for answer in answers
        ]

    async def run(self, context: StepContext) -> Outcome:
        """Let the agent answer the step's inputs."""
        assigned = context.prepared
        assert isinstance(assigned, Assigned)
        work = work_of(context)
        try:
            answer = await backend(assigned.agent_type).run(assigned.config, context)
            work.said = work.said or said_of(context, answer, is_done=True)
            return answer if isinstance(answer, Asks) else Completed(answer)
        except InputFault as error:
            return Failed(error.code[:100], str(error)[:_MAX_MESSAGE], is_final=True)
        except (Exception, SystemExit) as error:
            if fault := fault_in(error):
                raise fault from error
            raise
        finally:
            work.said = work.said or said_of(context)

    def heard(self, step_execution_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
        """Note that the agents live whose attempts say how far they are."""
        return note_life_of_steps(step_execution_ids, now)

    def settle(self, ended: Sequence[Ended], now: datetime) -> list[EventDraft]:
        """Give back the agents' places, and note which of them failed or recovered."""
        return release(ended, now)
