"""Agents show that they live, and one that does not gets no step until it does again."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from agents.models import AgentInstance, AgentReservation
from agents.services import lifecycle
from agents.services.heartbeats import mark_silent
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, agent, ended, eventually, statuses, steps_of
from tests.db.engine.test_progress import tell, told_of
from workflows.clock import database_now
from workflows.core.outcomes import Failed
from workflows.engine.driver import Driver
from workflows.engine.sweeps import sweep
from workflows.models import Event
from workflows.services.explain import explain_execution

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker(scene: Scene) -> AgentInstance:
    return scene.agent(config={"heartbeat_seconds": 60})


def heard(agent: AgentInstance, ago: float | None) -> None:
    """Let an agent have been heard of so many seconds ago; None: never, in a day."""
    now = database_now()
    moment = None if ago is None else now - timedelta(seconds=ago)
    AgentInstance.objects.filter(pk=agent.pk).update(
        last_heartbeat=moment, created_at=now - timedelta(days=1)
    )


def last(agent: AgentInstance) -> datetime | None:
    agent.refresh_from_db()
    return agent.last_heartbeat


def changes() -> list[tuple[str, str]]:
    rows = Event.objects.filter(event_type="agent_status_changed").order_by("seq")
    return [(row.data["from"], row.data["status"]) for row in rows]


# --- signs of life --------------------------------------------------------------------------


def test_an_attempt_that_completes_is_one_and_one_that_fails_is_none(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    heard(worker, 50)
    scene.run(agent("a", max_retries=0))
    hand.turn()
    before = last(worker)
    hand.turn(hand.result("a", Failed("x", "It broke")))
    assert last(worker) == before
    scene.run(agent("b"))
    hand.work()
    after = last(worker)
    assert before is not None
    assert after is not None
    assert after - before > timedelta(seconds=49)


def test_a_message_of_progress_is_one(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    heard(worker, 50)
    scene.run(agent("a"))
    hand.turn()
    before = last(worker)
    assert before is not None
    tell(hand, told_of(hand.begun["a"]))
    after = last(worker)
    assert after is not None
    assert after - before > timedelta(seconds=49)
    tell(hand, told_of(hand.begun["a"]))
    assert last(worker) == after


def test_of_many_signs_few_are_written(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    heard(worker, 9)
    before = last(worker)
    scene.run(agent("a"))
    hand.work()
    assert last(worker) == before
    worker.config = {"heartbeat_seconds": 9}  # of 9 seconds, 3 are not waited for
    worker.save()
    heard(worker, 4)
    before = last(worker)
    scene.run(agent("a"))
    hand.work()
    assert last(worker) != before


# --- silence --------------------------------------------------------------------------------


def test_who_is_silent_gets_no_step_and_why_is_told(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    heard(worker, 61)
    execution = scene.run(agent("a"))
    hand.work()
    step = steps_of(execution)["a"]
    assert (step.status, step.error_code) == ("failed", "no_eligible_agent")
    since = worker.last_heartbeat or last(worker)
    assert since is not None
    assert f"worker: not heard of since {since:%Y-%m-%d %H:%M:%S} UTC" in step.error_message
    mark_silent()
    execution = scene.run(agent("a"))
    hand.work()
    assert "not heard of since" in steps_of(execution)["a"].error_message


def test_another_one_takes_it_and_the_reason_names_who_is_silent(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    heard(worker, 61)
    other = scene.agent("other", definition="worker")
    execution = scene.run(agent("a"))
    hand.turn()
    place = AgentReservation.objects.get()
    assert place.agent_instance == other
    assert place.reason["refused"]["worker"].startswith("not heard of since")
    second = scene.run(agent("b"))
    hand.turn()
    reasons = explain_execution(second, scene.users["operator"])
    [reason] = [reason for reason in reasons if reason.code == "no_free_agent"]
    assert "Other (1 of 1 places)" in reason.message
    assert "Worker (not heard of since" in reason.message
    hand.work()
    assert statuses(execution) == {"a": "completed"}


def test_it_is_marked_offline_once_and_comes_back_when_it_is_heard_of(
    scene: Scene, worker: AgentInstance, make_api: Any
) -> None:
    heard(worker, 59)
    assert mark_silent() == 0
    heard(worker, 61)
    assert mark_silent() == 1
    assert mark_silent() == 0
    worker.refresh_from_db()
    assert (worker.status, worker.is_silent) == ("offline", True)
    event = Event.objects.get(event_type="agent_status_changed")
    assert (event.agent_id, event.actor) == (worker.id, "system")
    assert "Worker is offline: not heard of since" in event.message
    answer = beat(make_api(scene.users["operator"]), worker)
    assert (answer.status_code, answer.json()["status"]) == (200, "idle")
    worker.refresh_from_db()
    assert (worker.status, worker.is_silent) == ("idle", False)
    assert changes() == [("idle", "offline"), ("offline", "idle")]
    assert mark_silent() == 0


def test_who_was_never_heard_of_has_its_time_from_when_it_was_made(worker: AgentInstance) -> None:
    assert mark_silent() == 0
    heard(worker, None)
    assert mark_silent() == 1


def test_who_is_not_expected_to_is_never_silent(scene: Scene, hand: DriverByHand) -> None:
    plain = scene.agent()
    heard(plain, None)
    assert mark_silent() == 0
    execution = scene.run(agent("a"))
    hand.work()
    assert statuses(execution) == {"a": "completed"}


def test_what_its_attempt_does_brings_it_back_too(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    scene.run(agent("a"))
    hand.turn()
    heard(worker, 61)
    mark_silent()
    hand.finish("a")
    worker.refresh_from_db()
    assert (worker.status, worker.is_silent) == ("idle", False)


def test_who_was_shut_down_stays_so_whatever_is_heard(
    scene: Scene, worker: AgentInstance, make_api: Any
) -> None:
    heard(worker, 61)
    mark_silent()
    lifecycle.shutdown(worker.id, user=scene.users["editor"])
    answer = beat(make_api(scene.users["operator"]), worker)
    assert answer.json()["status"] == "offline"
    worker.refresh_from_db()
    assert (worker.status, worker.is_silent) == ("offline", False)
    heard(worker, 61)
    assert mark_silent() == 0
    assert worker not in AgentInstance.objects.usable()


def test_who_failed_and_is_silent_is_idle_once_it_is_heard_of(
    scene: Scene, worker: AgentInstance, make_api: Any
) -> None:
    AgentInstance.objects.update(status="error", faults=1)
    heard(worker, 61)
    assert mark_silent() == 1
    assert beat(make_api(scene.users["operator"]), worker).json()["status"] == "idle"


@pytest.mark.django_db(transaction=True)
def test_the_engine_looks_after_it(scene: Scene, worker: AgentInstance, engine: Driver) -> None:
    heard(worker, 61)
    eventually(lambda: AgentInstance.objects.filter(is_silent=True).exists(), "an offline agent")


def test_a_sweep_that_fails_holds_up_nothing(settings: Any, worker: AgentInstance) -> None:
    settings.ENGINE_SWEEPS = ["workflows.clock.nothing", *settings.ENGINE_SWEEPS]
    heard(worker, 61)
    sweep()
    worker.refresh_from_db()
    assert worker.is_silent


@pytest.mark.django_db(transaction=True)
def test_drivers_that_write_signs_of_life_and_assign_at_once_wait_for_nobody_in_a_circle(
    scene: Scene,
    launch: Callable[[], Driver],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("agents.services.heartbeats._WRITTEN_EVERY", timedelta(0))
    for number in range(6):
        scene.agent(f"worker-{number}", definition="worker", places=3)
    for _ in range(3):
        launch()
    flow = scene.workflow(*[agent(name) for name in "abcdef"])
    runs = [scene.start(flow) for _ in range(15)]
    assert {ended(run, 60).status for run in runs} == {"completed"}
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == []


# --- over REST ------------------------------------------------------------------------------


def beat(client: Any, agent: AgentInstance, body: Any = None) -> Any:
    return client.post(f"/api/v1/agents/{agent.id}/heartbeat/", body or {}, format="json")


def test_an_agent_has_a_token_that_may_do_nothing_else(
    scene: Scene, worker: AgentInstance, make_api: Any
) -> None:
    client = make_api(scene.users["operator"], ["heartbeat"])
    answer = beat(client, worker)
    assert answer.status_code == 200
    assert answer.json()["heartbeat_seconds"] == 60
    assert answer.json()["last_heartbeat"] is not None
    assert client.get(f"/api/v1/agents/{worker.id}/").status_code == 403
    assert client.post(f"/api/v1/agents/{worker.id}/shutdown/").status_code == 403
    assert beat(make_api(scene.users["operator"], ["read", "write"]), worker).status_code == 403
    assert beat(make_api(scene.users["viewer"]), worker).status_code == 403
    assert beat(client, worker, {"x": 1}).status_code == 400


def test_who_is_of_another_workspace_finds_no_such_agent(
    worker: AgentInstance, make_api: Any, outsider: Any
) -> None:
    assert beat(make_api(outsider), worker).status_code == 404
    assert last(worker) is None


@pytest.mark.parametrize("seconds", [0, -1, 100_000, "60", True, None])
def test_a_time_that_is_none_is_refused_and_means_nothing(
    scene: Scene, worker: AgentInstance, make_api: Any, seconds: Any
) -> None:
    heard(worker, 61)
    AgentInstance.objects.update(config={"heartbeat_seconds": seconds})
    assert mark_silent() == 0
    if seconds is None:
        return
    path = f"/api/v1/agents/{worker.id}/"
    body = {"config": {"heartbeat_seconds": seconds}}
    refused = make_api(scene.users["editor"]).patch(path, body, format="json")
    assert refused.status_code == 400
    assert "heartbeat_seconds" in refused.content.decode()
