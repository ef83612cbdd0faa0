"""Who waits for an agent, in the order in which they began to, and how many a workspace lets in.

A step that finds no free place leaves an ``AgentWait``, and renews it each time it asks again.
Whoever asks meanwhile leaves a place to each of those before it. One that no longer asks, because
its run has ended or its worker died, stands in nobody's way for long.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from agents.models import AgentReservation, AgentWait
from workflows.handlers import NotYet, StepContext
from workflows.policies import MAX_AGENT_STEPS

#: How long ago somebody has asked who still waits: some of the times at which they ask again.
STILL_WAITS = timedelta(seconds=3)
_FORGOTTEN = timedelta(minutes=1)
#: Those at the head of the line for an agent ask again so many seconds later, so that no place is
#: free for long. The others ask seldom: hundreds of them would be all that a database does.
_SOON = 0.2
_HEAD = 20


class Line:
    """The steps of a turn among those that wait already, who were read with the agents locked."""

    def __init__(
        self, contexts: Sequence[StepContext], waits: Iterable[AgentWait], now: datetime
    ) -> None:
        self._now = now
        self._workspaces = {context.workspace_id for context in contexts}
        self._known = {wait.id: wait for wait in waits}
        self._since = {
            context.step_execution_id: now + timedelta(microseconds=position)
            for position, context in enumerate(contexts)
        } | {wait.id: wait.since for wait in self._known.values()}
        self._contexts = {context.step_execution_id: context for context in contexts}
        self._waits: list[AgentWait] = []
        #: How many wait already, by the first of the agents that could take them.
        self._before: Counter[str] = Counter()

    def __iter__(self) -> Iterator[StepContext | AgentWait]:
        """Yield the steps of this turn, and before each of them the others whose turn is first."""
        last = max((self._since[step_id] for step_id in self._contexts), default=self._now)
        for step_id in sorted(self._since, key=lambda step_id: self._since[step_id]):
            if step_id in self._contexts:
                yield self._contexts[step_id]
            elif self._since[step_id] < last:
                self._before.update(self._known[step_id].agents[:1])
                yield self._known[step_id]

    def wait(self, context: StepContext, agents: Collection[UUID]) -> NotYet:
        """Let a step that ``agents`` could take wait its turn; none: it waits for people, and keeps
        its turn meanwhile without a place."""
        wait = AgentWait(
            id=context.step_execution_id,
            workspace_id=context.workspace_id,
            agents=[str(agent_id) for agent_id in agents],
            since=self._since[context.step_execution_id],
            asked_at=self._now,
        )
        self._waits.append(wait)
        if not agents:
            return NotYet(for_people=True)
        self._before.update(wait.agents[:1])
        is_at_the_head = self._before[wait.agents[0]] <= _HEAD
        return NotYet(_SOON) if is_at_the_head else NotYet()

    def write(self) -> None:
        """Write down who waits, and that the others do no more."""
        waiting = {wait.id for wait in self._waits}
        if served := [i for i in self._contexts if i in self._known and i not in waiting]:
            AgentWait.objects.filter(id__in=served).delete()
        if self._waits:
            AgentWait.objects.bulk_create(
                self._waits,
                update_conflicts=True,
                unique_fields=["id"],
                update_fields=["agents", "since", "asked_at"],
            )
            AgentWait.objects.filter(
                workspace_id__in=self._workspaces, asked_at__lt=self._now - _FORGOTTEN
            ).delete()


class Quotas:
    """How many more steps the agents of each workspace may have, where there is a limit.

    ``settings``: those of the workspaces, whose rows are locked.
    """

    def __init__(self, settings: Mapping[UUID, Mapping[str, Any]], now: datetime) -> None:
        self._left = Counter(
            {
                workspace_id: int(said[MAX_AGENT_STEPS])
                for workspace_id, said in settings.items()
                if MAX_AGENT_STEPS in said
            }
        )
        if self._left:
            held = AgentReservation.objects.filter(
                workspace_id__in=self._left, released_at__isnull=True, expires_at__gt=now
            )
            self._left.subtract(held.values_list("workspace_id", flat=True))

    def has_room(self, workspace_id: UUID) -> bool:
        return workspace_id not in self._left or self._left[workspace_id] > 0

    def take(self, workspace_id: UUID) -> None:
        """Count one more step."""
        if workspace_id in self._left:
            self._left[workspace_id] -= 1
