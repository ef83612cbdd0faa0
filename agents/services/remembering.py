"""What an agent is told that it remembers when a step begins, and keeps when it completes.

It keeps the step's output under the step's name, the feedback that the work was sent back with
under ``NAME.feedback``, and what it was told to remember (``agents/work.py``), all in the
transaction of the step's result.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from agents.memory import NewEntry
from agents.memory.entries import MAX_KEY, Entry
from agents.memory.recall import recall
from agents.memory.trust import Trust, trust_of, trust_of_agent
from agents.memory.writing import Store, store_each
from agents.models import AgentInstance
from agents.services.assignment import Assigned
from workflows.errors import MgxError
from workflows.events import EventDraft, EventType
from workflows.handlers import StepContext
from workflows.models import WorkflowStepExecution

#: How many entries an agent is told where its ``config.memory.read_entries`` says nothing.
_READ_ENTRIES = 20
_MOST_READ_ENTRIES = 1_000
_FEEDBACK = ".feedback"


@dataclass(frozen=True, slots=True)
class Done:
    """What the agent of a step that has completed is to keep."""

    agent: AgentInstance
    step: WorkflowStepExecution
    output: Any
    remembered: Mapping[str, Any]


def tell_memories(assigned: Sequence[tuple[StepContext, Assigned]], now: datetime) -> None:
    """Put in what the agents that were assigned remember, each its own, the oldest first.

    Who takes over is also told what had been handed on to the agent that failed. Of work that was
    sent back the feedback comes last.
    """
    wanted = {
        agent_id: _read_entries(agent.config)
        for _, agent in assigned
        for agent_id in (agent.agent_instance_id, agent.failed_agent_id)
        if agent_id
    }
    known = recall(wanted, now)
    for context, agent in assigned:
        own = known.get(agent.agent_instance_id, [])
        failed = known.get(agent.failed_agent_id, []) if agent.failed_agent_id else []
        told = [_told(entry) for entry in [*filter(_was_handed_on, failed), *own]]
        if context.feedback:
            told.append(_feedback_entry(context, feedback_key(context.name)))
        # Of a key that is twice the last one, in its place.
        agent.memory = list({entry["key"]: entry for entry in reversed(told)}.values())[::-1]


def keep_results(done: Iterable[Done]) -> list[EventDraft]:
    """Keep what agents made and were told to remember, all of it at once; of a key that several
    steps of an agent write in one turn what the last one wrote. What cannot be kept is told; the
    step has completed."""
    wanted: dict[tuple[UUID, str], tuple[Done, Store]] = {}
    drafts = []
    for each in done:
        agent = each.agent
        for entry in _entries(each):
            try:
                store = Store.read(agent.id, agent.workspace_id, [entry], f"agent:{agent.slug}")
            except MgxError as refusal:
                drafts.append(_refused(each, entry.memory_key, refusal))
            else:
                wanted[agent.id, entry.memory_key] = (each, store)
    answers = store_each([store for _, store in wanted.values()])
    for ((_, key), (each, _)), answer in zip(wanted.items(), answers, strict=True):
        if isinstance(answer, MgxError):
            drafts.append(_refused(each, key, answer))
    return drafts


def feedback_key(step_name: str) -> str:
    """Return under which key the feedback to a step's work is kept."""
    return step_name[: MAX_KEY - len(_FEEDBACK)] + _FEEDBACK


def _read_entries(config: Mapping[str, Any]) -> int:
    memory = config.get("memory")
    given = memory.get("read_entries") if isinstance(memory, Mapping) else None
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return min(given, _MOST_READ_ENTRIES)
    return _READ_ENTRIES


def _was_handed_on(entry: Entry) -> bool:
    return entry.threaded_from is not None or "threaded_from" in entry.metadata


def _told(entry: Entry) -> dict[str, Any]:
    return {
        "key": entry.memory_key,
        "value": entry.memory_data,
        "trust": trust_of(entry.metadata),
        "written_at": entry.updated_at.isoformat(),
    }


def _feedback_entry(context: StepContext, key: str) -> dict[str, Any]:
    written_at = context.revised_at.isoformat() if context.revised_at else None
    value = {"feedback": context.feedback, "revision": context.revision}
    return {"key": key, "value": value, "trust": Trust.PERSON, "written_at": written_at}


def _entries(done: Done) -> list[NewEntry]:
    """Return what an agent keeps: the words of people, its result, what it was told to."""
    step = done.step
    about = {
        "step_execution_id": str(step.id),
        "execution_id": str(step.execution_id),
        "revision": step.revision,
    }
    entries = []
    if step.feedback:
        value = {"feedback": step.feedback, "revision": step.revision}
        entries.append(NewEntry(feedback_key(step.name), value, about, trust=Trust.PERSON))
    trust = trust_of_agent(done.agent.definition.agent_type)
    made = {step.name[:MAX_KEY]: done.output, **done.remembered}
    return entries + [NewEntry(key, value, about, trust=trust) for key, value in made.items()]


def _refused(done: Done, key: str, refusal: MgxError) -> EventDraft:
    agent = done.agent
    return EventDraft(
        EventType.AGENT_ACTIVITY,
        agent.workspace_id,
        workflow_execution_id=done.step.execution_id,
        workflow_step_id=done.step.id,
        agent_id=agent.id,
        data={
            "activity": "memory_refused",
            "agent": agent.slug,
            "memory_key": key[:MAX_KEY],
            "code": refusal.code,
        },
        message=f"{agent.name} could not keep {key[:60]}: {refusal.message}",
    )
