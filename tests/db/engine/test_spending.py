"""What attempts of agents spend is written when they end, whatever they come to."""

import random
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.db.models import Sum

from agents.models import AgentInstance, AgentLoss, AgentReservation, AgentUsage
from agents.prices import Prices, cost_of, needed_by
from agents.services.assignment import Assigned, reserve
from agents.services.circuit import lock_for_marking
from agents.services.held import read_held
from agents.services.spending import note_spending
from agents.work import Work, work_of
from tests.db.agents.contexts import context_of
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import AT_ONCE, Scene, agent
from tests.db.engine.threads import at_once
from workflows.clock import database_now
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.core.steps import AgentStep
from workflows.engine import leases
from workflows.engine.turn import Result
from workflows.handlers import Ended, StepContext
from workflows.models import EngineDriver
from workflows.policies import MONTHLY_AGENT_TOKENS
from workflows.services.executions import cancel_execution

pytestmark = pytest.mark.django_db

PRICES = {"prices": {"input_per_million": 2.5, "output_per_million": 10}}


def spent(
    hand: DriverByHand, step: str, told: int, said: int, outcome: Outcome | None = None
) -> Result:
    """Return the result of an attempt that has used tokens."""
    work = work_of(hand.begun[step])
    work.input_tokens, work.output_tokens = told, said
    return hand.result(step, outcome)


def usage() -> dict[str, Any]:
    """Return the one row of usage."""
    [row] = AgentUsage.objects.values(
        "steps", "failures", "input_tokens", "output_tokens", "cost_micros"
    )
    return row


@pytest.mark.parametrize(
    ("told", "said", "micros"),
    [(0, 0, 0), (1_000_000, 0, 2_500_000), (1, 1, 13), (3, 0, 8), (10**9, 10**9, 12_500_000_000)],
)
def test_a_cost_is_counted_in_whole_micros_and_never_rounded_down(
    told: int, said: int, micros: int
) -> None:
    assert cost_of(Prices.model_validate(PRICES["prices"]), told, said) == micros


def test_what_is_reserved_covers_the_dearer_kind_of_tokens() -> None:
    need = needed_by("llm", {"max_tokens": 1_000, **PRICES})
    assert (need.tokens, need.cost_micros) == (1_000, 10_000)
    assert needed_by("llm", {}).tokens == 50_000
    assert needed_by("http", PRICES).tokens == 50_000
    assert not needed_by("python", {"task": "transform"})


def test_attempts_say_what_they_spent_and_days_add_it_up(scene: Scene, hand: DriverByHand) -> None:
    scene.agent(places=5, config=PRICES)
    scene.run(agent("a"), agent("b"), agent("c"))
    hand.turn()
    hand.turn(spent(hand, "a", 1_000, 100), spent(hand, "b", 10, 1))
    [first, second] = AgentReservation.objects.exclude(input_tokens=0).order_by("-input_tokens")
    assert (first.input_tokens, first.output_tokens, first.cost_micros) == (1_000, 100, 3_500)
    assert (second.input_tokens, second.output_tokens, second.cost_micros) == (10, 1, 35)
    hand.turn(hand.result("c"))
    assert usage() == {
        "steps": 3, "failures": 0, "input_tokens": 1_010, "output_tokens": 101,
        "cost_micros": 3_535,
    }  # fmt: skip
    assert AgentUsage.objects.get().day == database_now().astimezone(UTC).date()


def test_a_later_day_has_a_row_of_its_own(scene: Scene, hand: DriverByHand) -> None:
    scene.agent(places=5)
    scene.run(agent("a"), agent("b", after=["a"]))
    hand.turn()
    hand.turn(spent(hand, "a", 5, 0))
    hand.turn(spent(hand, "b", 7, 0), ahead=86_400)
    days = AgentUsage.objects.order_by("day").values_list("day", "input_tokens")
    [(today, first), (tomorrow, second)] = days
    assert (tomorrow - today, first, second) == (timedelta(days=1), 5, 7)


def test_what_failed_and_what_another_agent_took_over_has_spent_too(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent("one", definition="worker", config=PRICES)
    scene.agent("two", definition="worker", config=PRICES)
    scene.run(agent("a", max_retries=1, config=AT_ONCE))
    hand.turn()
    hand.turn(spent(hand, "a", 100, 0, Failed("agent_timeout", "silent", elsewhere=True)))
    hand.turn(spent(hand, "a", 200, 0, Failed("model_refused", "no", is_final=True)))
    rows = AgentReservation.objects.order_by("attempt")
    assert [(row.outcome, row.input_tokens) for row in rows] == [("moved", 100), ("failed", 200)]
    told = AgentUsage.objects.values_list("steps", "failures", "input_tokens", "cost_micros")
    assert sorted(told) == [(1, 1, 100, 250), (1, 1, 200, 500)]


def test_what_the_backend_counts_itself_is_the_cost(scene: Scene, hand: DriverByHand) -> None:
    scene.agent(config=PRICES)
    scene.run(agent("a"))
    hand.turn()
    work_of(hand.begun["a"]).cost_micros = 77
    hand.turn(spent(hand, "a", 100, 100))
    assert usage()["cost_micros"] == 77


def test_a_result_that_comes_too_late_has_spent_nothing(scene: Scene, hand: DriverByHand) -> None:
    scene.agent()
    scene.run(agent("a"))
    hand.turn()
    late = spent(hand, "a", 100, 0)
    hand.turn(late)
    hand.turn(late)
    assert usage()["input_tokens"] == 100


def test_nonsense_that_an_agent_outside_counts_does_no_harm(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent(config=PRICES)
    scene.run(agent("a"), agent("b", after=["a"]))
    hand.turn()
    hand.turn(spent(hand, "a", 10**30, -5))
    row = usage()
    assert (row["input_tokens"], row["output_tokens"]) == (10**9, 0)
    assert row["cost_micros"] == 2_500 * 10**6


# --- attempts that are cut off ------------------------------------------------------------


def budget(scene: Scene, tokens: int) -> None:
    scene.workspace.settings = {MONTHLY_AGENT_TOKENS: tokens}
    scene.workspace.save()


def lost() -> list[tuple[int, int]]:
    return list(AgentLoss.objects.values_list("tokens", "cost_micros"))


def test_what_was_reserved_is_lost_with_a_worker_that_dies(
    scene: Scene, hand: DriverByHand
) -> None:
    budget(scene, 10_000)
    scene.agent(config={"max_tokens": 1_000, **PRICES})
    scene.run(agent("a"))
    hand.turn()
    long_ago = database_now() - timedelta(seconds=31)
    EngineDriver.objects.filter(id=hand.holdings.driver_id).update(heartbeat_at=long_ago)
    assert leases.take_over_from_the_dead() == 1
    other = DriverByHand()
    other.turn()
    assert lost() == [(1_000, 10_000)]
    other.turn(spent(other, "a", 5, 0, Completed({})))
    assert usage()["input_tokens"] == 5


def test_what_was_reserved_is_lost_with_a_run_that_is_cancelled(
    scene: Scene, hand: DriverByHand
) -> None:
    budget(scene, 10_000)
    scene.agent(config={"max_tokens": 1_000})
    execution = scene.run(agent("a"))
    hand.turn()
    cancel_execution(execution.id, user=scene.users["operator"])
    hand.turn()
    assert lost() == [(1_000, 0)]
    assert not AgentReservation.objects.exists()


def test_nothing_is_lost_where_nothing_was_reserved(scene: Scene, hand: DriverByHand) -> None:
    scene.agent(config={"max_tokens": 1_000})
    execution = scene.run(agent("a"))
    hand.turn()
    cancel_execution(execution.id, user=scene.users["operator"])
    assert lost() == []


# --- many at once -------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_turns_that_add_to_the_same_days_lose_nothing_and_never_block_each_other(
    scene: Scene,
) -> None:
    """Each turn marks some agents, notes what was spent and assigns others, as a driver's does."""
    agents = [scene.agent(f"w{number}", places=1_000) for number in range(4)]

    def drive(driver: int) -> int:
        order, told = random.Random(driver), 0  # noqa: S311
        running: list[UUID] = []
        for _ in range(10):
            ended = [_ended(step_id, order.randint(1, 1_000)) for step_id in running]
            told += sum(each.notes.input_tokens for each in ended)
            contexts = [_claimant(scene, order.choice(agents).slug) for _ in range(3)]
            with transaction.atomic():
                if order.random() < 0.3:
                    lock_for_marking()
                    AgentInstance.objects.filter(id=order.choice(agents).id).update(last_error="x")
                note_spending(ended, read_held(running), database_now())
                held = AgentReservation.objects.filter(step_execution_id__in=running)
                held.update(released_at=database_now(), outcome="failed")
                answers = reserve(contexts, database_now())
            assert all(isinstance(answer, Assigned) for answer in answers)
            running = [context.step_execution_id for context in contexts]
        return told

    told = sum(at_once(6, drive))
    assert AgentUsage.objects.aggregate(n=Sum("input_tokens"))["n"] == told > 0
    assert AgentReservation.objects.aggregate(n=Sum("input_tokens"))["n"] == told


def _ended(step_execution_id: UUID, tokens: int) -> Ended:
    failed = Failed("model_refused", "no", is_final=True)
    return Ended(step_execution_id, 1, failed, Work(input_tokens=tokens))


def _claimant(scene: Scene, wants: str) -> StepContext:
    step = AgentStep(name="ask", step_type="agent", agent_definition_id=wants)
    fields = {"step_execution_id": uuid4(), "workspace_id": scene.workspace.id, "step": step}
    return context_of("python", {}, **fields)
