"""Which agent takes which step, and the places that it holds meanwhile.

Called by the engine inside its transaction, with all the steps of a turn at once. The rows of
the candidates are locked first, in the order of their ids, so two drivers never count the same
free place twice; load is counted from live reservations.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby, islice, takewhile
from operator import attrgetter
from typing import Any
from uuid import UUID

from agents.models import AgentReservation, AgentWait
from agents.offers import NoOffer, Offer
from agents.prices import NOTHING, Amount, needed_by, spending_of
from agents.services.applicants import (
    Applicant,
    Skill,
    last_assigned,
    lock_applicants,
    write_order,
)
from agents.services.budget_requests import Budgets, Wait, hear
from agents.services.circuit import is_doubtful, is_open, places
from agents.services.heartbeats import not_heard_of_since
from agents.services.line import Line, Quotas
from workflows.bulk import insert_objects
from workflows.core.outcomes import Asks, Failed
from workflows.core.steps import AgentStep
from workflows.handlers import NobodyElse, NotYet, StepContext

#: How long a place is held by an attempt without a time limit whose worker was never heard of
#: again; the takeover from a dead driver frees it much earlier.
_LONGEST_HOLD = timedelta(hours=24)
_NEVER = datetime.min.replace(tzinfo=UTC)
#: Of more candidates than these, an assignment says only how many there were.
_TOLD_AT_MOST = 20


@dataclass(slots=True)
class Assigned:
    """An agent for an attempt. ``config``: the definition's with the instance's over it.
    ``takes_over_from``: the agent that failed at the step just now, ``failed_agent_id`` its id.
    ``memory``: what the agent remembers (``agents/work.py``); ``memo``: where an attempt before
    this one stopped. ``max_tokens``: what the step may spend, where that is limited. ``offers``: by
    the names in its config, what it may call of tool servers, or why it cannot."""

    agent_instance_id: UUID
    name: str
    agent_type: str
    config: dict[str, Any]
    takes_over_from: str = ""
    failed_agent_id: UUID | None = None
    memory: Sequence[Mapping[str, Any]] = ()
    memo: dict[str, Any] | None = None
    max_tokens: int | None = None
    offers: Mapping[str, Offer | NoOffer] = field(default_factory=dict)


@dataclass(slots=True)
class Chosen:
    """The agent for an attempt, why it was chosen, and what is reserved of the budget."""

    assigned: Assigned
    reason: dict[str, Any]
    need: Amount


@dataclass(slots=True)
class Busy:
    """These could take the step, but have no place for it now."""

    agents: list[UUID]


class Candidates:
    """The agents that the steps of a turn name, locked, with the places they have left.

    ``waits``: who waits for agents of the same workspaces already, the longest first.
    """

    def __init__(self, contexts: Sequence[StepContext], now: datetime) -> None:
        self._now = now
        self._assigned: dict[str, datetime] = {}
        workspace_ids = {context.workspace_id for context in contexts}
        names = {name for context in contexts if (name := _wanted(context))}
        locked = lock_applicants(workspace_ids, names, now)
        self._quotas = Quotas(locked.limits, now)
        self._budgets = Budgets(locked.limits, now)
        self._agents = locked.applicants
        self.waits = locked.waits
        self._latest = last_assigned(self._agents) or _NEVER
        self._eligible: dict[tuple[Any, ...], tuple[list[Applicant], dict[str, str]]] = {}

    def choose(
        self, context: StepContext, tried: Sequence[AgentReservation]
    ) -> Chosen | Busy | Wait | NobodyElse | Asks | Failed:
        """Return the agent for an attempt, and count its place and what it may spend as taken.

        ``tried``: what those held that failed at the step just now, the last one first.
        """
        step = context.step
        assert isinstance(step, AgentStep)
        eligible, refusals = self._who_can(step, context)
        if tried:
            failed = {reservation.agent_instance_id for reservation in tried}
            refusals = refusals | {a.slug: "it failed just now" for a in eligible if a.id in failed}
            eligible = [a for a in eligible if a.id not in failed and not is_open(a, self._now)]
            if not eligible:
                return NobodyElse()
        if not eligible:
            reasons = "; ".join(f"{slug}: {why}" for slug, why in refusals.items())
            message = f"No agent can take “{_wanted(context)}”" + (
                f" ({reasons})" if reasons else ""
            )
            return Failed("no_eligible_agent", message[:2_000], is_final=True)
        free = [a for a in eligible if self._has_room(a)]
        if not free or not self._quotas.has_room(context.workspace_id):
            return Busy([agent.id for agent in eligible])
        chosen = min(free, key=self._ranking(step))
        config = chosen.config
        need = self._need(chosen, config)
        if refusal := self._budgets.ask(context, need, chosen.name):
            return refusal
        self._budgets.take(context.workspace_id, need)
        reason = self._reason(step, eligible, refusals, chosen)
        if tried:
            reason["takes_over_from"] = [self._slug_of(r.agent_instance_id) for r in tried]
        if step.config.handoff:
            reason["handoff"] = {
                **step.config.handoff.model_dump(mode="json"),
                "step": context.name,
            }
        chosen.load += 1
        self._quotas.take(context.workspace_id)
        # Each assignment is later than all before it: their order is kept, whoever makes them.
        self._latest = max(self._now, self._latest + timedelta(microseconds=1))
        chosen.assigned_text = self._latest.isoformat(" ")
        self._assigned[chosen.key] = self._latest
        assigned = Assigned(chosen.id, chosen.name, chosen.skill.agent_type, config)
        assigned.max_tokens = need.tokens or spending_of(config).max_tokens
        if tried:
            assigned.takes_over_from = tried[0].agent_instance.name
            assigned.failed_agent_id = tried[0].agent_instance_id
        return Chosen(assigned, reason, need)

    def leave_room(self, wait: AgentWait) -> None:
        """Leave a place to a step whose turn is first and that will ask again soon."""
        could = set(wait.agents)
        free = (a for a in self._agents if str(a.id) in could and self._has_room(a))
        if self._quotas.has_room(wait.workspace_id) and (agent := next(free, None)):
            agent.promised += 1
            self._quotas.take(wait.workspace_id)

    def keep_order(self) -> None:
        """Write down whose turn it was last, for ``round_robin``."""
        write_order(self._assigned)

    def _who_can(
        self, step: AgentStep, context: StepContext
    ) -> tuple[list[Applicant], dict[str, str]]:
        """Return the agents that can take a step, and why the others cannot."""
        key = (
            context.workspace_id, context.project_id, step.agent_instance_id,
            step.agent_definition_id, step.config.required_capabilities,
        )  # fmt: skip
        if key not in self._eligible:
            # A turn holds steps of several workspaces, none of which learns of the others' agents.
            own = [agent for agent in self._agents if agent.workspace_id == context.workspace_id]
            refusal = _refusals(step, context)
            whys = [(agent, refusal(agent)) for agent in own]
            self._eligible[key] = (
                [agent for agent, why in whys if not why],
                {agent.slug: why for agent, why in whys if why},
            )
        return self._eligible[key]

    def _need(self, agent: Applicant, config: Mapping[str, Any]) -> Amount:
        """Return what to reserve for a step of an agent: nothing where nothing is limited."""
        if not self._budgets.limits(agent.workspace_id):
            return NOTHING
        return needed_by(agent.skill.agent_type, config)

    def _has_room(self, agent: Applicant) -> bool:
        taken = agent.load + agent.promised
        return taken < places(agent) and not is_open(agent, self._now)

    def _ranking(self, step: AgentStep) -> Callable[[Applicant], tuple[Any, ...]]:
        """Return what tells what the best of the free agents has least of."""
        now = self._now
        match step.config.assignment_strategy:
            case "least_loaded":
                return lambda a: (is_doubtful(a, now), a.load / a.max_concurrency, a.key)
            case "round_robin":
                return lambda a: (is_doubtful(a, now), a.assigned_text, a.key)
            case _:
                score = cache(lambda skill: -_score(skill, step))
                return lambda a: (
                    is_doubtful(a, now), score(a.skill), a.load / a.max_concurrency, a.key,
                )  # fmt: skip

    def _reason(
        self,
        step: AgentStep,
        eligible: list[Applicant],
        refusals: dict[str, str],
        chosen: Applicant,
    ) -> dict[str, Any]:
        told = [chosen, *(a for a in eligible[:_TOLD_AT_MOST] if a is not chosen)]
        reason: dict[str, Any] = {
            "strategy": step.config.assignment_strategy,
            "places": places(chosen),
            "candidates": {
                agent.slug: {"load": agent.load, "score": _score(agent.skill, step)}
                for agent in sorted(told, key=attrgetter("key"))
            },
            "refused": dict(islice(refusals.items(), _TOLD_AT_MOST)),
        }
        if left_out := len(eligible) - len(told) + len(refusals) - len(reason["refused"]):
            reason["left_out"] = left_out
        return reason

    def _slug_of(self, agent_id: UUID) -> str:
        return next((a.slug for a in self._agents if a.id == agent_id), str(agent_id))


def reserve(
    contexts: Sequence[StepContext], now: datetime
) -> list[Assigned | NotYet | NobodyElse | Asks | Failed]:
    """Find and hold an agent for each attempt, first of those that wait longest; write down why."""
    candidates = Candidates(contexts, now)
    tried = moved_on_from([c.step_execution_id for c in contexts if c.attempt > 1])
    line = Line(contexts, candidates.waits, now)
    answers: dict[UUID, Assigned | NotYet | NobodyElse | Asks | Failed] = {}
    answers.update(hear(contexts, now))
    reservations = []
    given_up = []
    for context in line:
        if isinstance(context, AgentWait):
            candidates.leave_room(context)
            continue
        if context.step_execution_id in answers:
            continue
        tried_by = tried.get(context.step_execution_id, [])
        choice = candidates.choose(context, tried_by)
        if isinstance(choice, NobodyElse):
            given_up.append(tried_by[0].id)
        if isinstance(choice, Busy | Wait):
            agents = choice.agents if isinstance(choice, Busy) else ()
            answers[context.step_execution_id] = line.wait(context, agents)
            continue
        if isinstance(choice, NobodyElse | Asks | Failed):
            answers[context.step_execution_id] = choice
            continue
        answers[context.step_execution_id] = choice.assigned
        limit = context.step.timeout_seconds
        hold = timedelta(seconds=limit + 60) if limit else _LONGEST_HOLD
        reservations.append(
            AgentReservation(
                workspace_id=context.workspace_id,
                agent_instance_id=choice.assigned.agent_instance_id,
                step_execution_id=context.step_execution_id,
                attempt=context.attempt,
                reason=choice.reason,
                reserved_at=now,
                expires_at=now + hold,
                tokens_reserved=choice.need.tokens,
                cost_reserved_micros=choice.need.cost_micros,
            )
        )
    insert_objects(reservations)
    if given_up:
        AgentReservation.objects.filter(id__in=given_up).update(outcome="failed")
    line.write()
    candidates.keep_order()
    return [answers[context.step_execution_id] for context in contexts]


def moved_on_from(step_execution_ids: Collection[UUID]) -> dict[UUID, list[AgentReservation]]:
    """Return what those agents held from whom each step just moved on, the last one first."""
    if not step_execution_ids:
        return {}
    rows = AgentReservation.objects.filter(step_execution_id__in=step_execution_ids)
    found: dict[UUID, list[AgentReservation]] = {}
    for step_id, group in groupby(
        rows.select_related("agent_instance").order_by("step_execution_id", "-attempt"),
        attrgetter("step_execution_id"),
    ):
        found[step_id] = list(takewhile(lambda row: row.outcome == "moved", group))
    return found


def _refusals(step: AgentStep, context: StepContext) -> Callable[[Applicant], str]:
    """Return what tells why an agent cannot take the step at all; it says "" of one that can."""
    wanted = _wanted(context)
    required = set(step.config.required_capabilities)

    @cache
    def of_skill(skill: Skill) -> tuple[bool, str]:
        missing = required.difference(skill.capabilities)
        lacks = f"it lacks {', '.join(sorted(missing))}" if missing else ""
        return wanted in (skill.slug, str(skill.id)), lacks

    def of_agent(agent: Applicant) -> str:
        is_named, lacks = of_skill(agent.skill)
        if step.agent_instance_id:
            is_named = wanted in (agent.slug, str(agent.id))
        if not is_named:
            return "another agent is named"
        if agent.project_id and agent.project_id != context.project_id:
            return "it belongs to another project"
        if lacks or not agent.silent_since:
            return lacks
        return not_heard_of_since(agent.silent_since)

    return of_agent


def _wanted(context: StepContext) -> str | None:
    """Return the instance that the step names, or else the definition."""
    assert isinstance(context.step, AgentStep)
    return context.step.agent_instance_id or context.step.agent_definition_id


def _score(skill: Skill, step: AgentStep) -> float:
    """Return how well the capabilities match: the share of them that is asked for."""
    return round(len(step.config.required_capabilities) / max(len(skill.capabilities), 1), 3)
