"""How a step type plugs into the engine: one handler each, named in ``settings.STEP_HANDLERS``.

A **work** handler runs outside any transaction; a **gate** opens and closes inside the engine's
own, so that its row and the step's ``waiting`` commit together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from workflows.core.definition import AnyStep
from workflows.core.outcomes import Failed, Outcome
from workflows.events import EventDraft


@dataclass(slots=True)
class StepContext:
    """What a handler knows of the step that it runs.

    ``idempotency_key`` is the same for every attempt of the step: send it to whatever must not
    act twice. ``inputs`` are resolved. ``prepared`` is what the handler's own ``prepare``
    returned for it.
    """

    step_execution_id: UUID
    execution_id: UUID
    workflow_id: UUID
    workspace_id: UUID
    project_id: UUID | None
    workflow_name: str
    run_number: int
    started_by_id: int | None
    step: AnyStep
    attempt: int
    revision: int
    inputs: dict[str, Any]
    prepared: Any = None

    @property
    def idempotency_key(self) -> str:
        return str(self.step_execution_id)


@runtime_checkable
class WorkHandler(Protocol):
    """A step that does something."""

    async def run(self, context: StepContext) -> Outcome:
        """Do it, on the engine's event loop: await what waits, use threads for what blocks.

        Any exception is a failure of the attempt whose code is its class's ``code``, if it has
        one, else ``error``.
        """
        ...


@dataclass(slots=True)
class Prepared:
    """What ``prepare`` decided for one step: run it with ``value``, with ``agent_instance_id``
    shown on its row."""

    value: Any = None
    agent_instance_id: UUID | None = None
    agent_name: str = ""


@dataclass(slots=True)
class NotYet:
    """The step has to wait its turn; the engine asks again after ``seconds``, or when woken."""

    seconds: float = 1.0


@runtime_checkable
class ReservingHandler(WorkHandler, Protocol):
    """A work handler that takes something for each attempt and gives it back.

    All three are called inside the engine's transaction, with everything of the batch at once.
    """

    def prepare(
        self, contexts: Sequence[StepContext], now: datetime
    ) -> list[Prepared | NotYet | Failed]:
        """Take what each step needs, in order; ``Failed`` if it can never be had."""
        ...

    def settle(
        self, ended: Sequence[tuple[UUID, int, Outcome | None]], now: datetime
    ) -> list[EventDraft]:
        """Give back what (step execution, attempt) held. The outcome is None where the attempt
        was abandoned: cancelled, or its worker died."""
        ...


@dataclass(slots=True)
class Opening:
    """A gate to open: the step's context, and its texts with the references put in."""

    context: StepContext
    texts: Mapping[str, str]
    payload: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class GateHandler(Protocol):
    """A step that waits for something outside the engine. Called inside its transaction."""

    def open(self, openings: Sequence[Opening], now: datetime) -> list[EventDraft]:
        """Write what people are asked; the steps commit as ``waiting`` with it."""
        ...

    def close(self, step_execution_ids: Sequence[UUID]) -> dict[UUID, Outcome]:
        """Return the outcome of those gates that were decided; the others still wait."""
        ...

    def cancel(self, execution_ids: Sequence[UUID], now: datetime, actor: str) -> list[EventDraft]:
        """Withdraw what the open gates of these executions still ask."""
        ...


@dataclass(frozen=True, slots=True)
class Plug:
    """A step type's handler by what it is, found out once: a gate, or work, and if so whether it
    reserves something."""

    gate: GateHandler | None
    work: WorkHandler | None
    reserving: ReservingHandler | None


@cache
def plugs() -> dict[str, Plug]:
    """Return the handler of each step type, as the settings name them."""
    found = {}
    for step_type, path in settings.STEP_HANDLERS.items():
        handler = import_string(path)()
        found[step_type] = Plug(
            gate=handler if isinstance(handler, GateHandler) else None,
            work=handler if isinstance(handler, WorkHandler) else None,
            reserving=handler if isinstance(handler, ReservingHandler) else None,
        )
    return found


def gates() -> list[GateHandler]:
    """Return the handlers that are gates."""
    return [plug.gate for plug in plugs().values() if plug.gate]
