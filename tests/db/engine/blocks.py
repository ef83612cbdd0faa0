"""Blocks to try things on, and what to ask about them."""

from typing import Any

from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import steps_of
from workflows.clock import database_now
from workflows.core.outcomes import Completed
from workflows.engine import leases
from workflows.engine.inputs import dump_json
from workflows.models import WorkflowExecution


def parallel(name: str, *steps: dict[str, Any], after: tuple[str, ...] = (), **config: Any) -> Any:
    return block("parallel", name, *steps, after=after, **config)


def sequential(
    name: str, *steps: dict[str, Any], after: tuple[str, ...] = (), **config: Any
) -> Any:
    return block("sequential", name, *steps, after=after, **config)


def block(kind: str, name: str, *steps: Any, after: tuple[str, ...], **config: Any) -> Any:
    known = ("timeout_seconds", "trigger_rule")
    fields = {key: config.pop(key) for key in known if key in config}
    config["steps"] = list(steps)
    return {
        "name": name,
        "step_type": kind,
        "depends_on_steps": list(after),
        "config": config,
        **fields,
    }


def made(value: Any) -> Completed:
    return Completed(value, dump_json(value))


def output_of(execution: WorkflowExecution, step: str) -> Any:
    return steps_of(execution)[step].output_data


def status_of(execution: WorkflowExecution) -> str:
    return WorkflowExecution.objects.get(id=execution.id).status


def taken_over(hand: DriverByHand) -> DriverByHand:
    """Return a driver that took what ``hand`` held, which is fenced."""
    leases.fence(hand.holdings.driver_id, database_now())
    return DriverByHand()
