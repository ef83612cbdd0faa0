"""How many steps agents have at once, in which order steps come to them, that many who claim at the
same moment never get more than there is, and what steps hand on."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from agents.memory import retrieve_memory, store_memory
from agents.models import AgentHandoff, AgentInstance, AgentReservation, AgentWait
from agents.services import line
from agents.services.assignment import Assigned, reserve
from agents.services.settling import release
from mgx.bench.crew import attempt
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, agent, events_of, steps_of
from tests.db.engine.threads import at_once
from workflows.clock import database_now
from workflows.core.outcomes import Completed, Failed
from workflows.engine import leases
from workflows.errors import InvalidInput
from workflows.handlers import Ended, NotYet, StepContext
from workflows.models import EngineDriver, WorkflowExecution
from workflows.policies import MAX_AGENT_STEPS, check_settings

pytestmark = pytest.mark.django_db

IN_USE = pytest.mark.django_db(transaction=True)


def limit(scene: Scene, most: int) -> None:
    scene.workspace.settings = {MAX_AGENT_STEPS: most}
    scene.workspace.save()


def claimant(scene: Scene, strategy: Any = "least_loaded", wants: str = "worker") -> StepContext:
    """Return an attempt of some step that wants an agent."""
    return attempt(scene.workspace, wants, strategy)


def claim(*contexts: StepContext, ahead: float = 0) -> list[Any]:
    with transaction.atomic():
        return reserve(contexts, database_now() + timedelta(seconds=ahead))


def give_back(*contexts: StepContext) -> None:
    with transaction.atomic():
        release([Ended(c.step_execution_id, 1, Completed({})) for c in contexts], database_now())


def live() -> int:
    return AgentReservation.objects.filter(released_at=None).count()


# --- the limit of a workspace -------------------------------------------------------------


def test_a_workspace_has_no_more_agent_steps_at_once_than_it_may(
    scene: Scene, hand: DriverByHand
) -> None:
    limit(scene, 2)
    scene.agent("one", definition="worker", places=5)
    scene.agent("two", definition="other", places=5)
    execution = scene.run(agent("a"), agent("b", "other"), agent("c"), agent("d", "other"))
    hand.turn()
    ahead = 0.0
    while hand.begun:
        assert len(hand.begun) == live() <= 2
        hand.finish(next(iter(hand.begun)))
        hand.turn(ahead=(ahead := ahead + 1.5))
    assert WorkflowExecution.objects.get(id=execution.id).status == "completed"
    assert AgentReservation.objects.count() == 4


def test_another_workspace_has_a_limit_of_its_own(scene: Scene, other_workspace: Any) -> None:
    limit(scene, 1)
    scene.agent(places=5)
    scene.agent("theirs", definition="worker", places=5, workspace=other_workspace)
    ours, theirs = claimant(scene), claimant(scene)
    theirs.workspace_id = other_workspace.id
    answers = claim(ours, claimant(scene), theirs)
    assert [type(answer) for answer in answers] == [Assigned, NotYet, Assigned]


@IN_USE
def test_forty_claimants_are_let_in_five_at_a_time_in_their_order(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "STILL_WAITS", timedelta(minutes=1))
    limit(scene, 5)
    for number in range(10):
        scene.agent(f"w{number}", places=10)
    waiting = [claimant(scene, wants=f"w{number % 10}") for number in range(40)]
    while waiting:
        asking = waiting
        answers = at_once(len(asking), lambda number: claim(asking[number])[0])  # noqa: B023
        inside = [
            c for c, answer in zip(asking, answers, strict=True) if isinstance(answer, Assigned)
        ]
        assert len(inside) == live() == 5
        give_back(*inside)
        waiting = [context for context in asking if context not in inside]


@IN_USE
def test_forty_claimants_get_exactly_the_places_of_the_agents(scene: Scene) -> None:
    for number in range(3):
        scene.agent(f"w{number}", definition="worker", places=2)
    answers = at_once(40, lambda _: claim(claimant(scene))[0])
    assert sum(isinstance(answer, Assigned) for answer in answers) == live() == 6
    assert set(Counter(AgentReservation.objects.values_list("agent_instance")).values()) == {2}


def test_what_a_dead_worker_held_is_free_when_another_takes_over(
    scene: Scene, hand: DriverByHand
) -> None:
    limit(scene, 1)
    scene.agent(places=5)
    execution = scene.run(agent("a"))
    hand.turn()
    assert live() == 1
    long_ago = database_now() - timedelta(seconds=31)
    EngineDriver.objects.filter(id=hand.holdings.driver_id).update(heartbeat_at=long_ago)
    assert leases.take_over_from_the_dead() == 1
    other = DriverByHand()
    other.turn()
    assert (list(other.begun), live()) == (["a"], 1)
    other.finish("a")
    assert WorkflowExecution.objects.get(id=execution.id).status == "completed"


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5", None])
def test_a_limit_is_a_number_of_steps(value: Any) -> None:
    assert [p.error_type for p in check_settings({MAX_AGENT_STEPS: value})] == ["out_of_range"]
    assert not check_settings({MAX_AGENT_STEPS: 5})


# --- the order ----------------------------------------------------------------------------


def test_who_waits_longest_comes_first_whoever_asks_next(scene: Scene) -> None:
    scene.agent(places=1)
    holder, first, second, late = (claimant(scene) for _ in range(4))
    claim(holder)
    claim(first)
    claim(second)
    give_back(holder)
    assert isinstance(claim(late)[0], NotYet), "one that waits longer will ask again"
    answers = claim(second, late, first)
    assert [type(answer) for answer in answers] == [NotYet, NotYet, Assigned]
    assert set(AgentWait.objects.values_list("id", flat=True)) == {
        second.step_execution_id,
        late.step_execution_id,
    }


def test_only_the_head_of_the_line_asks_often(scene: Scene, monkeypatch: Any) -> None:
    """Whoever drives them: each of these asks in a turn of its own."""
    monkeypatch.setattr(line, "_HEAD", 2)
    scene.agent("one", definition="worker")
    scene.agent("two", definition="other")
    claim(claimant(scene))
    claim(claimant(scene, wants="other"))
    waiting = [claimant(scene, wants=name) for name in ("worker", "worker", "worker", "other")]
    for _ in range(2):
        soon = [claim(context)[0].seconds < NotYet().seconds for context in waiting]
        assert soon == [True, True, False, True]


def test_who_waits_for_one_agent_leaves_the_others_to_the_others(scene: Scene) -> None:
    scene.agent("one", definition="busy")
    scene.agent("two", definition="worker")
    holder, waiting = claimant(scene), claimant(scene)
    for context in (holder, waiting):
        context.step = context.step.model_copy(update={"agent_definition_id": "busy"})
        claim(context)
    assert AgentWait.objects.count() == 1
    assert isinstance(claim(claimant(scene))[0], Assigned)


def test_who_no_longer_asks_stands_in_nobodys_way(scene: Scene) -> None:
    scene.agent(places=1)
    holder, gone, late = (claimant(scene) for _ in range(3))
    claim(holder)
    claim(gone)
    give_back(holder)
    assert isinstance(claim(late)[0], NotYet)
    assert isinstance(claim(late, ahead=3.5)[0], Assigned)


def test_those_who_wait_for_the_limit_come_in_order_too(scene: Scene) -> None:
    limit(scene, 1)
    scene.agent(places=5)
    holder, first, late = (claimant(scene) for _ in range(3))
    claim(holder)
    claim(first)
    give_back(holder)
    assert isinstance(claim(late)[0], NotYet)
    assert isinstance(claim(first)[0], Assigned)


@IN_USE
def test_round_robin_is_exact_with_many_who_assign(scene: Scene) -> None:
    agents = [scene.agent(f"w{n}", definition="worker", places=1_000).id for n in range(7)]

    def act(number: int) -> None:
        for _ in range(10):
            claim(*[claimant(scene, "round_robin") for _ in range(3)])

    at_once(4, act)
    given = Counter(AgentReservation.objects.values_list("agent_instance", flat=True))
    assert set(given) == set(agents)
    assert sorted(given.values()) == [17] * 6 + [18]


# --- many agents --------------------------------------------------------------------------


def test_assigning_among_a_thousand_agents_takes_as_many_queries_as_among_four(
    scene: Scene,
) -> None:
    queries = []
    for upto in (4, 1_000):
        made = AgentInstance.objects.count()
        one = scene.agent(f"w{made}", definition="worker")
        AgentInstance.objects.bulk_create(
            AgentInstance(
                workspace=scene.workspace, definition=one.definition, name=str(n), slug=f"w{n}"
            )
            for n in range(made + 1, upto)
        )
        with CaptureQueriesContext(connection) as captured:
            claim(*[claimant(scene) for _ in range(3)])
        queries.append(len(captured))
    assert queries[0] == queries[1]
    for reservation in AgentReservation.objects.all():
        assert len(reservation.reason["candidates"]) <= 21
    assert any(r.reason.get("left_out", 0) > 900 for r in AgentReservation.objects.all())


# --- handing on ---------------------------------------------------------------------------


def hands_on(**handoff: Any) -> dict[str, Any]:
    return agent("plan", "one", config={"inputs": {"a": 1}, "handoff": handoff}, max_retries=0)


def test_a_step_hands_on_what_it_made_when_it_completes(scene: Scene, hand: DriverByHand) -> None:
    one, two = scene.agent("one"), scene.agent("two")
    store_memory(one.id, one.workspace_id, "notes", [1])
    execution = scene.run(hands_on(to_agent_id="two", context_keys=["notes", "missing"]))
    hand.work()
    entries = retrieve_memory(two.id, two.workspace_id)
    assert {e.memory_key: e.memory_data for e in entries} == {"plan": {"a": 1}, "notes": [1]}
    handoff = AgentHandoff.objects.get()
    assert handoff.step_execution_id == steps_of(execution)["plan"].id
    [told] = events_of(execution.id, "agent_activity")
    assert told.data["activity"] == "handoff"


def test_a_handoff_that_is_refused_is_told_and_the_step_has_completed(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.agent("one")
    two = scene.agent("two")
    execution = scene.run(hands_on(to_agent_id="two"), agent("then", "one", after=["plan"]))
    hand.turn()
    AgentInstance.objects.filter(id=two.id).update(is_enabled=False)
    hand.finish("plan")
    hand.finish("then")
    assert WorkflowExecution.objects.get(id=execution.id).status == "completed"
    [told] = events_of(execution.id, "agent_activity")
    assert told.data["code"] == "agent_disabled"
    assert not AgentHandoff.objects.exists()


def test_a_failed_step_hands_nothing_on(scene: Scene, hand: DriverByHand) -> None:
    scene.agent("one")
    scene.agent("two")
    scene.run(hands_on(to_agent_id="two"))
    hand.turn()
    hand.turn(hand.result("plan", Failed("error", "x")))
    assert not AgentHandoff.objects.exists()


def test_a_handoff_to_nobody_is_refused_when_the_workflow_is_saved(scene: Scene) -> None:
    scene.agent("one")
    with pytest.raises(InvalidInput) as refused:
        scene.workflow(hands_on(to_agent_id="nobody"))
    [problem] = refused.value.problems
    assert (problem.error_type, problem.path) == (
        "unknown_agent",
        "/steps/0/config/handoff/to_agent_id",
    )
