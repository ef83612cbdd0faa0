"""Timers: how late they are."""

from datetime import timedelta

from mgx.bench.scene import Figures, Scene, milliseconds, spread, wait_for_ends
from mgx.bench.scratch import engine
from workflows.models import Event, WorkflowStepExecution
from workflows.services.executions import start_executions

_SECONDS_EACH = 0.06
_HEAD_START = 5.0


def timers(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """Steps that wait for some time each, so that one is due every 60 ms."""
    count = size or 1_000
    step = {"name": "wait", "step_type": "wait", "config": {"seconds": "${seconds}"}}
    workflow = scene.workflow(
        "timers", [step], variables=[{"name": "seconds", "data_type": "float"}]
    )
    inputs = [{"seconds": _HEAD_START + number * _SECONDS_EACH} for number in range(count)]
    with engine(workers):
        start_executions(workflow, inputs, user=scene.user, door="api")
        wait_for_ends()
    rows = WorkflowStepExecution.objects.filter(name="wait").values_list(
        "started_at", "completed_at", "execution__input_variables"
    )
    late = [
        milliseconds(begun + timedelta(seconds=given["seconds"]), ended)
        for begun, ended, given in rows
        if begun is not None and ended is not None
    ]
    told = Event.objects.filter(event_type="step_completed").count()
    return {
        **spread(late),
        "max_ms": round(max(late), 2),
        "early": sum(each < 0 for each in late),
        "fired": told,
        "how": (
            f"{count} runs that each wait, one due every {_SECONDS_EACH * 1_000:.0f} ms; ms: from"
            " the moment that is due to the commit's own time of its end; fired: ends told"
        ),
    }
