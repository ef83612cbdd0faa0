"""People are asked for more once a workspace's budget is used up: by one step for all.

The first step that does not fit stops and asks; while its answer is awaited, the others that do not
fit wait. What is granted counts for the month in which it was asked for. A refusal holds until the
month ends or the policy is raised: whatever does not fit until then fails. Call all of this with
the workspaces' rows locked.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from agents.models import AgentBudgetAnswer
from agents.prices import NOTHING, Amount, micros_of, units_of
from agents.services.budgets import Budget, read_budgets
from workflows.core.approval import Approval
from workflows.core.outcomes import Asks, Failed
from workflows.handlers import StepContext
from workflows.models import WorkflowStepExecution

CODE: Final = "budget_exceeded"
_ASKS_FOR: Final = "agent_budget"
_WEEK: Final = 7 * 86_400
_DAY: Final = 86_400
#: The least that is asked for: this part of the budget, so that not every step asks.
_PART: Final = 5
_MOST: Final = 10**15


class Wait:
    """A step waits until people have answered another one that asked for more."""


class Budgets:
    """The budgets of a turn's workspaces, and what its steps take of them.

    ``settings``: those of the workspaces, whose rows are locked.
    """

    def __init__(self, settings: Mapping[UUID, Mapping[str, Any]], now: datetime) -> None:
        self._now = now
        self._settings = settings
        self._budgets: dict[UUID, Budget] | None = None

    def limits(self, workspace_id: UUID) -> bool:
        """Tell whether the agents of a workspace may spend only so much."""
        return workspace_id in self._read()

    def ask(self, context: StepContext, need: Amount, agent: str) -> Asks | Wait | Failed | None:
        """Return what a step has to do before it may spend ``need``; None: it may."""
        budget = self._read().get(context.workspace_id)
        if budget is None or not (missing := budget.missing_for(need)):
            return None
        said = AgentBudgetAnswer.objects.filter(workspace_id=context.workspace_id)
        if waiting := said.filter(answered_at__isnull=True).first():
            if self._still_waits(waiting, context):
                return Wait()
            waiting.delete()
        refused = said.filter(
            answered_at__isnull=False, month=budget.month, tokens=0, cost_micros=0
        )
        if any(not budget.is_more_than(r.tokens_budget, r.cost_budget_micros) for r in refused):
            return Failed(CODE, f"{_used_up(budget)}, and more was refused", is_final=True)
        AgentBudgetAnswer.objects.create(
            workspace_id=context.workspace_id,
            month=budget.month,
            step_execution_id=context.step_execution_id,
            asked_at=self._now,
            tokens_budget=budget.tokens,
            cost_budget_micros=budget.cost_micros,
        )
        return _request(context, budget, need, missing, agent)

    def take(self, workspace_id: UUID, need: Amount) -> None:
        """Count what one more step has reserved."""
        if budget := self._read().get(workspace_id):
            budget.reserved += need

    def _read(self) -> dict[UUID, Budget]:
        if self._budgets is None:
            self._budgets = read_budgets(self._settings, self._now)
        return self._budgets

    def _still_waits(self, asked: AgentBudgetAnswer, context: StepContext) -> bool:
        """Tell whether the step that asked will come back with an answer: neither has it ended, nor
        is it back without one, because its request was withdrawn.

        The row of one that asked in this very turn may not be written yet.
        """
        if asked.asked_at >= self._now:
            return True
        if asked.step_execution_id == context.step_execution_id:
            return False
        steps = WorkflowStepExecution.objects.filter(id=asked.step_execution_id)
        return steps.filter(completed_at__isnull=True).exists()


def hear(contexts: Sequence[StepContext], now: datetime) -> dict[UUID, Failed]:
    """Write down what people have answered to steps that asked for more; return the failures of
    those that were refused it, by step."""
    answers = {c.step_execution_id: c.answer for c in contexts if _is_about_budget(c.answer)}
    if not answers:
        return {}
    failures = {}
    asked = AgentBudgetAnswer.objects.filter(step_execution_id__in=answers, answered_at=None)
    for row in asked:
        answer = answers[row.step_execution_id]
        granted = _granted(answer)
        row.answered_at, row.tokens, row.cost_micros = now, granted.tokens, granted.cost_micros
        row.save(update_fields=["answered_at", "tokens", "cost_micros"])
        if not granted:
            failures[row.step_execution_id] = Failed(CODE, _refusal(row, answer), is_final=True)
    return failures


def _is_about_budget(answer: Any) -> bool:
    payload = answer.get("payload") if isinstance(answer, dict) else None
    return isinstance(payload, dict) and payload.get("asks_for") == _ASKS_FOR


def _granted(answer: Mapping[str, Any]) -> Amount:
    """Return what an answer grants: exactly what its payload says, if that was approved."""
    if not answer.get("approved"):
        return NOTHING
    payload = answer["payload"]
    return Amount(
        int(_number(payload.get("more_tokens"))), micros_of(_number(payload.get("more_cost")))
    )


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= _MOST else 0


def _refusal(row: AgentBudgetAnswer, answer: Mapping[str, Any]) -> str:
    words = str(answer.get("feedback") or "")
    match answer.get("status"):
        case "timeout":
            said = "nobody answered in time"
        case "approved":
            said = f"{answer.get('decided_by') or 'MGX'} granted nothing more"
        case _:
            said = f"{answer.get('decided_by') or 'MGX'} refused more"
    end = f": {words}" if words else ""
    return f"The agents' budget for {row.month:%B %Y} is used up, and {said}{end}"[:2_000]


def _used_up(budget: Budget) -> str:
    return f"The agents' budget for {budget.month:%B %Y} is used up"


def _request(
    context: StepContext, budget: Budget, need: Amount, missing: Amount, agent: str
) -> Asks:
    """Return what people are asked: to grant more, as much as the payload says."""
    payload: dict[str, Any] = {
        "asks_for": _ASKS_FOR,
        "month": f"{budget.month:%Y-%m}",
        "agent": agent,
        "workflow": context.workflow_name,
        "step": context.name,
    }
    properties: dict[str, Any] = {}
    if budget.tokens is not None:
        payload["tokens"] = {
            "budget": budget.tokens,
            "granted": budget.granted.tokens,
            "spent": budget.spent.tokens,
            "reserved": budget.reserved.tokens,
            "needed": need.tokens,
        }
        payload["more_tokens"] = _more(missing.tokens, need.tokens, budget.tokens)
        properties["more_tokens"] = {"type": "integer", "title": "More tokens", "maximum": _MOST}
    if budget.cost_micros is not None:
        payload["cost"] = {
            "budget": units_of(budget.cost_micros),
            "granted": units_of(budget.granted.cost_micros),
            "spent": units_of(budget.spent.cost_micros),
            "reserved": units_of(budget.reserved.cost_micros),
            "needed": units_of(need.cost_micros),
        }
        payload["more_cost"] = units_of(
            _more(missing.cost_micros, need.cost_micros, budget.cost_micros)
        )
        properties["more_cost"] = {"type": "number", "title": "More money", "maximum": 10**9}
    for name, said in properties.items():
        said |= {"minimum": 0, "x-edits": f"/{name}"}
    approval = Approval(
        title=f"More budget for agents in {budget.month:%B %Y}",
        description=(
            f"{_used_up(budget)}. The step {context.name} of {context.workflow_name} needs more,"
            f" and all others that do wait for this answer.\n\nApproved, it grants"
            f" {_words(payload)} more for {budget.month:%B %Y}. Rejected, all of them fail until"
            " the month ends or the workspace's budget is raised."
        ),
        form_schema={"type": "object", "properties": properties},
        risk="high",
        expires_after_seconds=_WEEK,
        reminders=(_DAY,),
        on_reject="continue",
        on_timeout="continue",
    )
    return Asks(approval, payload)


def _more(missing: int, need: int, budget: int) -> int:
    """Return how much is asked for: at least what is missing and what the step needs."""
    return max(missing, need, -(-budget // _PART)) if missing else 0


def _words(payload: Mapping[str, Any]) -> str:
    parts = []
    if payload.get("more_tokens"):
        parts.append(f"{payload['more_tokens']:,} tokens")
    if payload.get("more_cost"):
        parts.append(f"a cost of {payload['more_cost']:,}")
    return " and ".join(parts)
