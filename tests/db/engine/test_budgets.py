"""What the agents of a workspace spend in a month stays within its budget, and people are asked,
once, before it may be more."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from agents.models import AgentBudgetAnswer, AgentLoss, AgentReservation, AgentUsage
from agents.services.assignment import Assigned, reserve
from agents.services.budgets import Budget, month_of, read_budgets
from agents.services.settling import release
from agents.work import Work, work_of
from approvals.models import WorkflowStepApproval
from mgx.bench.crew import attempt
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, agent, events_of, request_of, statuses, steps_of
from tests.db.engine.threads import at_once
from workflows.clock import database_now
from workflows.core.outcomes import Asks, Failed
from workflows.engine.turn import Result
from workflows.handlers import Ended, NotYet, StepContext
from workflows.models import WorkflowExecution
from workflows.policies import (
    MAX_AGENT_STEPS,
    MONTHLY_AGENT_COST,
    MONTHLY_AGENT_TOKENS,
    check_settings,
)
from workflows.services.executions import cancel_execution
from workflows.services.verbs import pause_execution, resume_execution

pytestmark = pytest.mark.django_db

IN_USE = pytest.mark.django_db(transaction=True)
#: A step of it may use a thousand tokens, which cost a hundredth.
CONFIG = {"max_tokens": 1_000, "prices": {"input_per_million": 2, "output_per_million": 10}}


def allow(scene: Scene, tokens: int | None = None, cost: float | None = None) -> None:
    said = {MONTHLY_AGENT_TOKENS: tokens, MONTHLY_AGENT_COST: cost}
    scene.workspace.settings = {key: most for key, most in said.items() if most is not None}
    scene.workspace.save()


def budget(scene: Scene) -> Budget:
    return read_budgets({scene.workspace.id: scene.workspace.settings}, database_now())[
        scene.workspace.id
    ]


def used(hand: DriverByHand, step: str, told: int, said: int = 0) -> Result:
    """Return the result of an attempt that has used tokens."""
    work = work_of(hand.begun[step])
    work.input_tokens, work.output_tokens = told, said
    return hand.result(step)


def run_of_three(scene: Scene, hand: DriverByHand) -> dict[str, WorkflowExecution]:
    """Start three runs of a step each where the budget is enough for two steps."""
    allow(scene, tokens=2_000)
    scene.agent(places=5, config=CONFIG)
    runs = {name: scene.run(agent(name)) for name in ("a", "b", "c")}
    hand.turn()
    return runs


def asking(runs: dict[str, WorkflowExecution]) -> str:
    """Return the step that asks people."""
    [name] = [name for name, run in runs.items() if statuses(run).get(name) == "waiting"]
    return name


def failure(run: WorkflowExecution, name: str) -> tuple[str, str]:
    step = steps_of(run)[name]
    return step.error_code, step.error_message


def later(days: float) -> float:
    return days * 86_400


# --- what is reserved ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (MONTHLY_AGENT_TOKENS, -1),
        (MONTHLY_AGENT_TOKENS, 1.5),
        (MONTHLY_AGENT_TOKENS, True),
        (MONTHLY_AGENT_COST, -0.1),
        (MONTHLY_AGENT_COST, "10"),
        (MONTHLY_AGENT_COST, float("nan")),
        (MONTHLY_AGENT_COST, float("inf")),
        (MONTHLY_AGENT_COST, False),
    ],
)
def test_a_budget_that_is_no_number_is_refused(key: str, value: Any) -> None:
    assert [problem.error_type for problem in check_settings({key: value})] == ["out_of_range"]


def test_a_budget_of_nothing_and_one_of_a_part_are_possible() -> None:
    assert check_settings({MONTHLY_AGENT_TOKENS: 0, MONTHLY_AGENT_COST: 12.5}) == []


def test_a_step_reserves_what_it_may_spend_and_gives_back_the_rest(
    scene: Scene, hand: DriverByHand
) -> None:
    allow(scene, tokens=5_000, cost=1)
    scene.agent(config=CONFIG)
    scene.run(agent("a"))
    hand.turn()
    assert hand.begun["a"].prepared.max_tokens == 1_000
    assert (budget(scene).reserved.tokens, budget(scene).reserved.cost_micros) == (1_000, 10_000)
    hand.turn(used(hand, "a", 300, 100))
    after = budget(scene)
    assert not after.reserved
    assert (after.spent.tokens, after.spent.cost_micros) == (400, 1_600)


def test_where_there_is_no_budget_nothing_is_reserved(scene: Scene, hand: DriverByHand) -> None:
    scene.agent(places=2, config=CONFIG)
    scene.agent("other", places=2)
    scene.run(agent("a"), agent("b", "other"))
    hand.turn()
    assert not AgentReservation.objects.exclude(tokens_reserved=0).exists()
    limits = [hand.begun[name].prepared.max_tokens for name in ("a", "b")]
    assert limits == [1_000, None], "a limit in the config holds all the same"


def test_an_agent_that_spends_nothing_needs_no_budget(scene: Scene, hand: DriverByHand) -> None:
    allow(scene, tokens=0, cost=0)
    scene.agent()
    scene.run(agent("a"))
    hand.turn()
    assert "a" in hand.begun


def test_a_budget_for_money_holds_by_itself(scene: Scene, hand: DriverByHand) -> None:
    allow(scene, cost=0.025)
    scene.agent(places=5, config=CONFIG)
    runs = {name: scene.run(agent(name)) for name in ("a", "b", "c")}
    hand.turn()
    assert len(hand.begun) == 2
    payload = request_of(runs[asking(runs)]).approval_data
    assert "tokens" not in payload
    assert payload["cost"] == {
        "budget": 0.025, "granted": 0, "spent": 0, "reserved": 0.02, "needed": 0.01,
    }  # fmt: skip
    assert payload["more_cost"] == 0.01


def test_what_was_lost_and_what_was_spent_this_month_counts(
    scene: Scene, hand: DriverByHand
) -> None:
    allow(scene, tokens=10_000)
    worker = scene.agent(config=CONFIG)
    now = database_now()
    this, before = month_of(now), month_of(now) - timedelta(days=1)
    for day, tokens in ((this, 100), (before, 5_000)):
        AgentUsage.objects.create(
            workspace=scene.workspace, agent_instance=worker, day=day, input_tokens=tokens
        )
        moment = now if day == this else now - timedelta(days=32)
        AgentLoss.objects.create(
            workspace=scene.workspace, lost_at=moment, tokens=tokens, cost_micros=0
        )
    assert (budget(scene).spent.tokens, budget(scene).lost.tokens) == (200, 100)


# --- many at once -------------------------------------------------------------------------


def claimant(scene: Scene, wants: str = "worker") -> StepContext:
    """Return an attempt of some step that wants an agent."""
    return attempt(scene.workspace, wants)


def claim(context: StepContext, now: datetime | None = None) -> Any:
    with transaction.atomic():
        return reserve([context], now or database_now())[0]


def give_back(context: StepContext, tokens: int) -> None:
    failed = Failed("model_refused", "no", is_final=True)
    ended = Ended(context.step_execution_id, 1, failed, Work(input_tokens=tokens))
    with transaction.atomic():
        release([ended], database_now())


@IN_USE
def test_forty_claimants_never_exceed_a_budget_and_ask_once(scene: Scene) -> None:
    """They want eight agents, give back a part of what they reserved, and claim again."""
    allow(scene, tokens=12_500)
    for number in range(8):
        scene.agent(f"w{number}", places=10, config=CONFIG)
    # All at one moment, so that whoever asked counts as one who will come back.
    now = database_now()

    def work(number: int) -> list[Any]:
        answers = []
        for _ in range(3):
            context = claimant(scene, wants=f"w{number % 8}")
            answers.append(claim(context, now))
            with transaction.atomic():
                assert budget(scene).used.tokens <= 12_500
            if isinstance(answers[-1], Assigned) and number % 2:
                give_back(context, 900)
        return answers

    answers = [answer for some in at_once(40, work) for answer in some]
    assert sum(isinstance(answer, Asks) for answer in answers) == 1
    assert all(isinstance(answer, Assigned | Asks | NotYet) for answer in answers)
    after = budget(scene)
    assert after.tokens is not None
    assert after.tokens - 1_000 < after.used.tokens <= after.tokens


@IN_USE
def test_the_database_itself_takes_one_unanswered_request_a_workspace(scene: Scene) -> None:
    row = {"workspace": scene.workspace, "month": month_of(database_now())}
    AgentBudgetAnswer.objects.create(step_execution_id=uuid4(), asked_at=database_now(), **row)
    with pytest.raises(IntegrityError), transaction.atomic():
        AgentBudgetAnswer.objects.create(step_execution_id=uuid4(), asked_at=database_now(), **row)


# --- people are asked ---------------------------------------------------------------------


def test_one_step_asks_for_all_and_says_for_how_much(scene: Scene, hand: DriverByHand) -> None:
    runs = run_of_three(scene, hand)
    more = {name: scene.run(agent(name)) for name in ("d", "e")}
    hand.turn()
    assert len(hand.begun) == 2
    name = asking(runs | more)
    request = request_of((runs | more)[name])
    assert WorkflowStepApproval.objects.count() == 1
    assert request.approval_data == {
        "asks_for": "agent_budget",
        "month": f"{database_now():%Y-%m}",
        "agent": "Worker",
        "workflow": (runs | more)[name].workflow.name,
        "step": name,
        "tokens": {
            "budget": 2_000, "granted": 0, "spent": 0, "reserved": 2_000, "needed": 1_000,
        },
        "more_tokens": 1_000,
    }  # fmt: skip
    assert request.required_approvers == []
    [row] = AgentBudgetAnswer.objects.all()
    assert row.step_execution_id == request.step_execution_id
    assert (row.tokens_budget, row.answered_at) == (2_000, None)


def test_at_least_a_fifth_of_the_budget_is_asked_for(scene: Scene, hand: DriverByHand) -> None:
    allow(scene, tokens=20_000)
    worker = scene.agent(config=CONFIG)
    AgentUsage.objects.create(
        workspace=scene.workspace,
        agent_instance=worker,
        day=database_now().date(),
        input_tokens=19_500,
    )
    execution = scene.run(agent("a"))
    hand.turn()
    assert request_of(execution).approval_data["more_tokens"] == 4_000


def test_what_is_approved_lets_the_others_in_and_no_more(scene: Scene, hand: DriverByHand) -> None:
    runs = run_of_three(scene, hand)
    others = {name: scene.run(agent(name)) for name in ("d", "e")}
    hand.turn()
    name = asking(runs)
    scene.decide(runs[name])
    hand.turn()
    assert set(hand.begun) == {"a", "b", "c"}, "what was granted is enough for one"
    assert hand.begun[name].answer["approved"] is True
    row = AgentBudgetAnswer.objects.get(answered_at__isnull=False)
    assert (row.tokens, row.cost_micros) == (1_000, 0)
    assert budget(scene).used.tokens == 3_000 == 2_000 + budget(scene).granted.tokens
    hand.turn(ahead=2)
    second = asking(others)
    assert request_of(others[second]).approval_data["tokens"]["granted"] == 1_000
    assert AgentBudgetAnswer.objects.filter(answered_at__isnull=True).count() == 1


def test_exactly_what_the_approver_made_of_it_is_granted(scene: Scene, hand: DriverByHand) -> None:
    runs = run_of_three(scene, hand)
    execution = runs[asking(runs)]
    scene.decide(execution, response_data={"more_tokens": 2_500})
    hand.turn()
    assert budget(scene).granted.tokens == 2_500


def test_a_grant_that_is_too_small_has_it_asked_again(scene: Scene, hand: DriverByHand) -> None:
    runs = run_of_three(scene, hand)
    name = asking(runs)
    first = request_of(runs[name])
    scene.decide(runs[name], response_data={"more_tokens": 10})
    hand.turn()
    again = request_of(runs[name])
    assert again.id != first.id
    assert again.approval_data["tokens"]["granted"] == 10
    scene.decide(runs[name])
    hand.turn()
    assert name in hand.begun


@pytest.mark.parametrize("outcome", ["rejected", "request_changes"])
def test_a_refusal_fails_the_step_in_the_words_of_the_approver(
    scene: Scene, hand: DriverByHand, outcome: str
) -> None:
    runs = run_of_three(scene, hand)
    waiting = scene.run(agent("d"))
    hand.turn()
    name = asking(runs)
    scene.decide(runs[name], outcome, "Use the small model")
    hand.turn()
    code, message = failure(runs[name], name)
    assert code == "budget_exceeded"
    assert message.endswith("refused more: Use the small model")
    hand.turn(ahead=2)
    code, message = failure(waiting, "d")
    assert (code, message.split(" is ")[1]) == ("budget_exceeded", "used up, and more was refused")
    assert WorkflowStepApproval.objects.count() == 1


def test_approving_nothing_more_is_a_refusal(scene: Scene, hand: DriverByHand) -> None:
    runs = run_of_three(scene, hand)
    name = asking(runs)
    scene.decide(runs[name], response_data={"more_tokens": 0})
    hand.turn()
    assert failure(runs[name], name)[0] == "budget_exceeded"
    assert "granted nothing more" in failure(runs[name], name)[1]


def test_after_a_refusal_a_raised_budget_counts_at_once(scene: Scene, hand: DriverByHand) -> None:
    runs = run_of_three(scene, hand)
    name = asking(runs)
    scene.decide(runs[name], "rejected", "No")
    hand.turn()
    allow(scene, tokens=3_000)
    first, second = scene.run(agent("d")), scene.run(agent("e"))
    hand.turn()
    assert {"d", "e"} & set(hand.begun), "there is room for one of them"
    # It was raised, so that the refusal is no answer to this any more.
    assert asking({"d": first, "e": second}) in ("d", "e")


def test_a_new_month_has_a_new_budget(scene: Scene, hand: DriverByHand) -> None:
    runs = run_of_three(scene, hand)
    name = asking(runs)
    hand.turn(*[used(hand, step, 1_000) for step in list(hand.begun)])
    scene.decide(runs[name], "rejected", "No")
    hand.turn()
    refused, fresh = scene.run(agent("d")), scene.run(agent("e"))
    hand.turn(ahead=0)
    assert failure(refused, "d")[0] == "budget_exceeded"
    assert failure(fresh, "e")[0] == "budget_exceeded"
    fresh = scene.run(agent("f"))
    hand.turn(ahead=later(32))
    assert "f" in hand.begun


def test_a_month_that_ends_while_people_are_asked_lets_the_others_go_on(
    scene: Scene, hand: DriverByHand
) -> None:
    runs = run_of_three(scene, hand)
    name = asking(runs)
    hand.turn(*[used(hand, step, 1_000) for step in list(hand.begun)])
    waiting = scene.run(agent("d"))
    hand.turn()
    assert "d" not in hand.begun
    hand.turn(ahead=later(32))
    assert "d" in hand.begun
    scene.decide(runs[name])
    hand.turn(ahead=later(32))
    assert name in hand.begun
    assert AgentBudgetAnswer.objects.get().month == month_of(database_now())
    assert statuses(waiting) == {"d": "running"}


def test_the_clock_of_a_run_stands_still_while_others_are_asked_for_it(
    scene: Scene, hand: DriverByHand
) -> None:
    runs = run_of_three(scene, hand)
    waiting = scene.run(agent("d"), timeout_seconds=100)
    hand.turn()
    for number in range(1, 5):
        hand.turn(ahead=number * 90)
    assert statuses(waiting) == {}
    scene.decide(runs[asking(runs)], response_data={"more_tokens": 5_000})
    hand.turn(ahead=400)
    hand.turn(ahead=402)
    assert statuses(waiting) == {"d": "running"}


def test_who_asked_and_is_cancelled_stands_in_nobodys_way(scene: Scene, hand: DriverByHand) -> None:
    runs = run_of_three(scene, hand)
    name = asking(runs)
    waiting = scene.run(agent("d"))
    hand.turn()
    cancel_execution(runs[name].id, user=scene.users["operator"])
    hand.turn(ahead=2)
    assert statuses(waiting) == {"d": "waiting"}
    assert request_of(waiting).approval_data["step"] == "d"
    [row] = AgentBudgetAnswer.objects.all()
    assert row.step_execution_id == steps_of(waiting)["d"].id


def test_who_asked_and_is_deleted_stands_in_nobodys_way(scene: Scene, hand: DriverByHand) -> None:
    runs = run_of_three(scene, hand)
    name = asking(runs)
    cancel_execution(runs[name].id, user=scene.users["operator"])
    hand.turn()
    WorkflowExecution.objects.filter(id=runs[name].id).delete()
    waiting = scene.run(agent("d"))
    hand.turn(ahead=2)
    assert statuses(waiting) == {"d": "waiting"}


def test_an_answer_that_comes_while_the_run_is_paused_counts_when_it_goes_on(
    scene: Scene, hand: DriverByHand
) -> None:
    runs = run_of_three(scene, hand)
    name = asking(runs)
    pause_execution(runs[name].id, user=scene.users["operator"])
    scene.decide(runs[name])
    hand.turn()
    assert name not in hand.begun
    resume_execution(runs[name].id, user=scene.users["operator"])
    hand.turn()
    assert name in hand.begun


def test_an_answer_is_heard_once_however_often_the_step_is_tried(
    scene: Scene, hand: DriverByHand
) -> None:
    runs = run_of_three(scene, hand)
    name = asking(runs)
    scene.decide(runs[name])
    hand.turn()
    hand.turn(hand.result(name, Failed("agent_timeout", "silent", elsewhere=True)))
    assert budget(scene).granted.tokens == 1_000
    assert AgentBudgetAnswer.objects.count() == 1


def test_a_crash_before_the_commit_leaves_nobody_asked(scene: Scene, hand: DriverByHand) -> None:
    allow(scene, tokens=0)
    scene.agent(config=CONFIG)
    now = database_now()
    with transaction.atomic():
        [answer] = reserve([claimant(scene)], now)
        assert isinstance(answer, Asks)
        transaction.set_rollback(True)  # as if the worker died
    assert not AgentBudgetAnswer.objects.exists()
    execution = scene.run(agent("a"))
    hand.turn()
    assert request_of(execution)


def test_a_worker_that_dies_after_the_answer_loses_nothing(
    scene: Scene, hand: DriverByHand
) -> None:
    runs = run_of_three(scene, hand)
    name = asking(runs)
    scene.decide(runs[name])
    with transaction.atomic():
        hand.turn()
        assert AgentBudgetAnswer.objects.get().answered_at is not None
        transaction.set_rollback(True)  # as if the worker died
    assert AgentBudgetAnswer.objects.get().answered_at is None
    other = DriverByHand()
    other.holdings = type(other.holdings)(hand.holdings.driver_id)
    other.turn()
    assert name in other.begun
    assert budget(scene).granted.tokens == 1_000


def test_both_limits_of_a_workspace_hold_together(scene: Scene, hand: DriverByHand) -> None:
    allow(scene, tokens=5_000)
    scene.workspace.settings |= {MAX_AGENT_STEPS: 1}
    scene.workspace.save()
    scene.agent(places=5, config=CONFIG)
    scene.run(agent("a"), agent("b"))
    hand.turn()
    assert len(hand.begun) == 1


def test_the_request_is_told_like_any_other(scene: Scene, hand: DriverByHand) -> None:
    runs = run_of_three(scene, hand)
    execution = runs[asking(runs)]
    [event] = events_of(execution.id, "approval_required")
    assert event.approval_id == request_of(execution).id
