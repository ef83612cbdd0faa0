"""The timeline of a run: what began when, with each attempt."""

from datetime import datetime
from typing import Any

import pytest
from django.db import transaction

from tests.db.engine.scenes import AT_ONCE, agent, gate, steps_of, task
from workflows.core.outcomes import Failed
from workflows.models import Event
from workflows.services.executions import cancel_execution

pytestmark = pytest.mark.django_db


@pytest.fixture
def timeline(api: Any) -> Any:
    """Return a function from a run to the entries of its timeline, by name."""

    def read(execution: Any) -> dict[str, Any]:
        answer = api("viewer").get(f"/api/v1/executions/{execution.pk}/timeline/")
        assert answer.status_code == 200, answer.content
        return {entry["name"]: entry for entry in answer.json()["results"]}

    return read


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_it_lists_each_attempt_with_its_times_and_its_error(scene, hand, timeline) -> None:
    run = scene.run(task("flaky", config=AT_ONCE))
    hand.turn()
    hand.turn(hand.result("flaky", Failed("teapot", "I am one")))
    hand.turn()
    hand.finish("flaky")
    entry = timeline(run)["flaky"]
    first, second = entry["attempts"]
    assert (first["number"], first["outcome"], first["error_code"]) == (1, "failed", "teapot")
    assert (second["number"], second["outcome"], second["error_code"]) == (2, "completed", "")
    assert moment(first["started_at"]) <= moment(first["ended_at"])
    assert moment(first["ended_at"]) <= moment(second["started_at"])
    assert entry["started_at"] == second["started_at"]
    assert entry["completed_at"] == second["ended_at"]
    assert entry["waiting_since"] is None


def test_it_is_in_the_order_of_the_starts(scene, hand, timeline) -> None:
    run = scene.run(task("z"), task("a", after=["z"]), task("m", after=["a"]))
    hand.work()
    assert list(timeline(run)) == ["z", "a", "m"]


def test_a_gate_says_since_when_it_waits_and_until_when_it_did(scene, hand, timeline) -> None:
    run = scene.run(gate("gate", title="May I?"))
    hand.turn()
    entry = timeline(run)["gate"]
    assert entry["waiting_since"] == entry["started_at"] is not None
    assert entry["waiting_until"] is None
    scene.decide(run)
    hand.turn()
    entry = timeline(run)["gate"]
    assert entry["waiting_until"] == entry["completed_at"] is not None


def test_it_names_the_agent(scene, hand, timeline) -> None:
    scene.agent()
    run = scene.run(agent("plan"))
    hand.work()
    entry = timeline(run)["plan"]
    assert entry["agent"] == entry["attempts"][0]["agent"] == "Worker"


def test_what_never_began_says_why(scene, hand, timeline) -> None:
    run = scene.run(task("no", condition_expression="1 > 2"))
    hand.work()
    entry = timeline(run)["no"]
    assert (entry["status"], entry["skip_reason"]) == ("skipped", "condition_false")
    assert (entry["started_at"], entry["attempts"]) == (None, [])


def test_an_attempt_of_a_cancelled_run_ends_with_it(scene, hand, timeline) -> None:
    run = scene.run(task("long"))
    hand.turn()
    assert timeline(run)["long"]["attempts"][0]["outcome"] == "running"
    cancel_execution(run.pk, user=scene.users["operator"])
    entry = timeline(run)["long"]
    [attempt] = entry["attempts"]
    assert (attempt["outcome"], attempt["ended_at"]) == ("abandoned", entry["completed_at"])


def test_an_attempt_that_was_handed_back_ended_when_it_was_or_when_the_next_began(
    scene, hand, timeline
) -> None:
    run = scene.run(task("long"))
    hand.turn()
    hand.holdings.hand_back_all()
    hand.holdings.forget()
    [attempt] = timeline(run)["long"]["attempts"]
    assert attempt["outcome"] == "abandoned"
    assert moment(attempt["ended_at"]) == steps_of(run)["long"].due_at
    hand.turn()
    first, second = timeline(run)["long"]["attempts"]
    assert (first["outcome"], first["ended_at"]) == ("abandoned", second["started_at"])
    assert (second["outcome"], second["ended_at"]) == ("running", None)


def test_it_outlives_its_events(scene, hand, timeline) -> None:
    run = scene.run(task("flaky", config=AT_ONCE))
    hand.turn()
    hand.turn(hand.result("flaky", Failed("teapot", "I am one")))
    hand.turn()
    with transaction.atomic():
        kept = Event.objects.of_execution(run.pk)
        kept.filter(event_type="step_started").earliest("seq").delete()
        first, second = timeline(run)["flaky"]["attempts"]
        kept.all().delete()
        nothing = timeline(run)["flaky"]["attempts"]
        transaction.set_rollback(True)
    assert (first["number"], first["started_at"], first["error_code"]) == (1, None, "teapot")
    assert second["outcome"] == "running"
    assert nothing == []


def test_it_is_paged_and_asks_few_questions(
    scene, hand, api, django_assert_max_num_queries
) -> None:
    run = scene.run(*[task(f"step {number:02}") for number in range(30)])
    hand.work()
    client = api("viewer")
    address = f"/api/v1/executions/{run.pk}/timeline/?limit=20"
    client.get(address)
    with django_assert_max_num_queries(6):
        page = client.get(address).json()
    rest = client.get(page["next"]).json()
    names = [entry["name"] for entry in (*page["results"], *rest["results"])]
    assert sorted(names) == [f"step {number:02}" for number in range(30)]
    assert rest["next"] is None
