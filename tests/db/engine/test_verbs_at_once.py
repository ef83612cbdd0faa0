"""Verbs against each other, and against an engine that is at work."""

from collections import Counter

import pytest

from tests.db.engine.scenes import Scene, ended, eventually, task
from tests.db.engine.threads import at_once
from workflows.engine.driver import Driver
from workflows.errors import Conflict
from workflows.models import WorkflowExecution, WorkflowStepExecution
from workflows.services.executions import cancel_execution
from workflows.services.verbs import pause_execution, resume_execution, retry_execution

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_of_many_retries_wins(scene: Scene) -> None:
    execution = scene.run(task("a"))
    WorkflowStepExecution.objects.create(
        id=execution.pk, execution=execution, name="a", step_type="task", status="running"
    )
    cancel_execution(execution.pk, user=None)

    def retry(_: int) -> str:
        try:
            return retry_execution(execution.pk, user=None).status
        except Conflict as refusal:
            return refusal.code

    assert Counter(at_once(6, retry)) == {"pending": 1, "not_failed": 5}
    revisions = WorkflowStepExecution.objects.filter(execution=execution, status="pending")
    assert list(revisions.values_list("revision", flat=True)) == [2]


def test_a_run_is_cancelled_or_paused_but_never_both(scene: Scene) -> None:
    for _ in range(5):
        execution = scene.run(task("a"))

        def act(number: int, execution: WorkflowExecution = execution) -> str:
            verb = pause_execution if number else cancel_execution
            try:
                return verb(execution.pk, user=None).status
            except Conflict as refusal:
                return refusal.code

        answers = at_once(2, act)
        assert answers in (["cancelled", "already_ended"], ["cancelled", "paused"])
        assert WorkflowExecution.objects.get(pk=execution.pk).status == "cancelled"


def test_an_engine_at_work_starts_nothing_once_a_pause_is_answered(
    scene: Scene, engine: Driver
) -> None:
    brief = {"seconds": 0.01}
    names = [f"s{n}" for n in range(40)]
    chain = [
        task(name, "sleep", inputs=brief, after=names[n - 1 : n]) for n, name in enumerate(names)
    ]
    execution = scene.run(*chain)
    pauses = 0
    rows = WorkflowStepExecution.objects.filter(execution=execution)
    for goal in (3, 12, 25):
        eventually(lambda goal=goal: rows.count() >= goal, f"{goal} steps")
        try:
            pause_execution(execution.pk, user=None)
        except Conflict:  # the run was quicker
            break
        pauses += 1
        begun = rows.count()
        eventually(lambda: not rows.filter(status="running").exists(), "what ran has ended")
        assert rows.count() == begun
        assert WorkflowExecution.objects.get(pk=execution.pk).status == "paused"
        resume_execution(execution.pk, user=None)
    assert ended(execution).status == "completed"
    assert rows.filter(status="completed").count() == 40
    assert pauses
