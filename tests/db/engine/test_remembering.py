"""What agents remember from step to step: read before, written with the result."""

from typing import Any

import pytest

from agents.memory import retrieve_memory, store_memory
from agents.models import AgentInstance, AgentMemoryEntry
from agents.work import memory_of, remember
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, agent, events_of, gate, steps_of, temporary
from workflows.core.outcomes import Completed
from workflows.services.executions import cancel_execution

pytestmark = pytest.mark.django_db


def kept(instance: AgentInstance) -> dict[str, Any]:
    entries = AgentMemoryEntry.objects.filter(agent_instance=instance)
    return dict(entries.values_list("memory_key", "memory_data"))


@pytest.fixture
def worker(scene: Scene) -> AgentInstance:
    return scene.agent(config={"task": "test.work"})


class Seen:
    """A task that notes what its agent remembers, and remembers how often it was called."""

    def __init__(self) -> None:
        self.memories: list[dict[str, Any]] = []

    def task(self, context: Any) -> dict[str, int]:
        """Work."""
        self.memories.append({entry["key"]: entry["value"] for entry in memory_of(context)})
        remember(context, "calls", len(self.memories))
        return {"call": len(self.memories)}


def test_a_step_reads_what_those_before_it_kept(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    seen = Seen()
    with temporary("test.work")(seen.task):
        scene.run(agent("first"), agent("second", after=["first"]))
        hand.work()
    assert seen.memories == [{}, {"first": {"call": 1}, "calls": 1}]
    assert kept(worker) == {"first": {"call": 1}, "second": {"call": 2}, "calls": 2}


def test_an_attempt_that_fails_or_comes_too_late_keeps_nothing(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    with temporary("test.work")(Seen().task):
        run = scene.run(agent("work"))
        hand.turn()
        late = hand.result("work")
        cancel_execution(run.id, user=scene.users["operator"])
        hand.turn(late)
    assert kept(worker) == {}


def test_feedback_is_among_what_is_remembered(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    seen = Seen()
    with temporary("test.work")(seen.task):
        run = scene.run(agent("plan"), gate(after=["plan"]))
        hand.work()
        scene.decide(run, "request_changes", "Canary first.")
        hand.work()
    words = {"feedback": "Canary first.", "revision": 2}
    assert seen.memories[1] == {"plan": {"call": 1}, "calls": 1, "plan.feedback": words}
    assert kept(worker)["plan.feedback"] == words
    [entry] = retrieve_memory(worker.id, scene.workspace.id, "plan.feedback")
    assert entry.metadata["trust"] == "person"


def test_only_the_newest_are_told_and_no_more_than_the_config_says(
    scene: Scene, hand: DriverByHand
) -> None:
    config = {"task": "test.work", "memory": {"read_entries": 2}}
    worker = scene.agent(config=config)
    for number in range(4):
        store_memory(worker.id, scene.workspace.id, f"k{number}", number)
    seen = Seen()
    with temporary("test.work")(seen.task):
        scene.run(agent("work"))
        hand.work()
    assert list(seen.memories[0].items()) == [("k2", 2), ("k3", 3)]


def test_a_result_that_cannot_be_kept_is_told_and_completes_the_step(
    scene: Scene, hand: DriverByHand
) -> None:
    config = {"task": "transform", "memory": {"max_bytes": 40}}
    worker = scene.agent(config=config)
    run = scene.run(agent("work", config={"inputs": {"text": "x" * 100}}))
    hand.work()
    assert steps_of(run)["work"].status == "completed"
    assert kept(worker) == {}
    [event] = events_of(run.pk, "agent_activity")
    assert (event.data["activity"], event.data["memory_key"]) == ("memory_refused", "work")


def test_a_read_counts_as_a_use(scene: Scene, hand: DriverByHand, worker: AgentInstance) -> None:
    store_memory(worker.id, scene.workspace.id, "k", 1)
    entries = AgentMemoryEntry.objects.filter(memory_key="k")
    before = entries.get().used_at
    scene.run(agent("work"))
    hand.turn(ahead=1.0)
    assert entries.get().used_at > before


def test_a_turn_that_does_not_commit_keeps_nothing(
    scene: Scene, hand: DriverByHand, worker: AgentInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.run(agent("work"))
    hand.turn()
    result = hand.result("work", Completed({"a": 1}))
    monkeypatch.setattr("workflows.engine.turn.append_events", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        hand.turn(result)
    assert kept(worker) == {}
