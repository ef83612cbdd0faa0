"""What is counted stays without gaps and in commit order, however many write at once."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from tests.db.engine.scenes import Scene, ended, task
from tests.db.engine.threads import at_once
from workflows.clock import database_now
from workflows.engine.driver import Driver
from workflows.errors import Conflict, InvalidInput, NotPermitted
from workflows.events import EventDraft, EventType, append_events
from workflows.models import Event, EventStream, WorkflowExecution
from workflows.services.executions import cancel_execution, start_executions

pytestmark = pytest.mark.django_db(transaction=True)


def test_parallel_starts_are_numbered_one_after_the_other(scene: Scene) -> None:
    workflow = scene.workflow(task("a"))
    executions = at_once(20, lambda _: scene.start(workflow))
    assert sorted(execution.number for execution in executions) == list(range(1, 21))


def test_a_start_that_is_refused_takes_no_number(scene: Scene) -> None:
    variables = [{"name": "n", "data_type": "int", "is_required": True}]
    workflow = scene.workflow(task("a"), variables=variables)

    def start(number: int) -> Any:
        try:
            return scene.start(workflow, n=number if number % 2 else "wrong")
        except InvalidInput as refusal:
            return refusal

    answers = at_once(20, start)
    numbers = [a.number for a in answers if isinstance(a, WorkflowExecution)]
    assert sorted(numbers) == list(range(1, 11))
    refusals = [a for a in answers if isinstance(a, InvalidInput)]
    assert {problem.path for r in refusals for problem in r.problems} == {"/input_variables/n"}


def test_many_start_together_or_not_at_all(scene: Scene) -> None:
    variables = [{"name": "n", "data_type": "int", "is_required": True}]
    workflow = scene.workflow(task("a"), variables=variables)
    operator = scene.users["operator"]
    with pytest.raises(InvalidInput) as refusal:
        start_executions(workflow, [{"n": 1}, {"n": "x"}, {}], user=operator, door="api")
    assert [p.path for p in refusal.value.problems] == ["/1/input_variables/n"] or [
        p.path for p in refusal.value.problems
    ] == ["/1/input_variables/n", "/2/input_variables/n"]
    started = start_executions(workflow, [{"n": 1}, {"n": 2}], user=operator, door="api")
    assert [execution.number for execution in started] == [1, 2]


def test_starting_needs_the_role_and_a_published_version(scene: Scene) -> None:
    workflow = scene.workflow(task("a"))
    with pytest.raises(NotPermitted):
        start_executions(workflow, [{}], user=scene.users["viewer"], door="api")
    type(workflow).objects.update(published_version=None)
    with pytest.raises(Conflict) as refusal:
        scene.start(workflow)
    assert refusal.value.code == "not_published"


def test_one_of_many_cancellations_wins(scene: Scene) -> None:
    execution = scene.run(task("a"))

    def cancel(_: int) -> str:
        try:
            return cancel_execution(execution.id, user=scene.users["operator"]).status
        except Conflict as refusal:
            return refusal.code

    answers = at_once(10, cancel)
    assert sorted(answers) == ["already_ended"] * 9 + ["cancelled"]


def test_events_are_contiguous_and_come_in_the_order_of_the_commits(
    scene: Scene, other_workspace: Any
) -> None:
    """A reader that asks for what comes after the last number it has seen misses nothing."""
    workspaces = [scene.workspace.id, other_workspace.id]
    seen: dict[Any, list[int]] = {workspace: [] for workspace in workspaces}
    is_done = threading.Event()

    def read() -> None:
        try:
            while True:
                is_last = is_done.is_set()
                for workspace, numbers in seen.items():
                    after = numbers[-1] if numbers else 0
                    events = Event.objects.filter(workspace_id=workspace, seq__gt=after)
                    numbers.extend(events.order_by("seq").values_list("seq", flat=True))
                if is_last:
                    return
        finally:
            connection.close()

    reader = threading.Thread(target=read)
    reader.start()

    def write(writer: int) -> None:
        for turn in range(10):
            try:
                with transaction.atomic():
                    drafts = [
                        EventDraft(EventType.AGENT_ACTIVITY, workspace, message=f"{writer} {turn}")
                        for workspace in workspaces[:: 1 if writer % 2 else -1]
                        for _ in range(1 + (writer + turn) % 3)
                    ]
                    append_events(drafts, database_now())
                    if turn % 5 == 4:
                        raise InterruptedError
            except InterruptedError:
                continue

    at_once(8, write)
    is_done.set()
    reader.join()
    for workspace, numbers in seen.items():
        last = EventStream.objects.get(workspace_id=workspace).last_seq
        assert numbers == list(range(1, last + 1))
        assert last == Event.objects.filter(workspace_id=workspace).count() > 100


def test_two_drivers_share_the_work_and_each_step_runs_once(
    scene: Scene, launch: Callable[[], Driver]
) -> None:
    workflow = scene.workflow(
        task("a"), *[task(f"b{n}", after=["a"]) for n in range(3)], task("c", after=["b0", "b1"])
    )
    launch()
    launch()
    executions = at_once(10, lambda _: [scene.start(workflow) for _ in range(4)])
    for batch in executions:
        for execution in batch:
            assert ended(execution, 30).status == "completed"
    started = Event.objects.filter(event_type="step_started")
    assert started.count() == 40 * 5
