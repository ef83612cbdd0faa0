"""How a step type plugs into the engine: one handler each, named in ``settings.STEP_HANDLERS``.

A **work** handler runs outside any transaction; a **gate** opens and closes inside the engine's
own, so that its row and the step's ``waiting`` commit together.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from django.conf import settings
from django.utils.module_loading import import_string

from workflows.core.approval import Approval
from workflows.core.outcomes import Asks, Failed, Outcome
from workflows.core.steps import AnyStep
from workflows.events import EventDraft


@dataclass(slots=True)
class StepContext:
    """What a handler knows of the step that it runs.

    ``idempotency_key`` is the same for every attempt of the step: send it to whatever must not
    act twice. ``inputs`` are resolved. ``prepared`` is what the handler's own ``prepare``
    returned for it. ``name`` is the step's in this run: ``check[3]`` in round 3 of a block.
    ``depth``: how many runs are above this one, if it is a sub-workflow's. Of work that was sent
    back at ``revised_at``, ``feedback`` says what should change, and ``previous`` is the step's own
    output before. ``answer``: what people answered to what an attempt before this one asked, as a
    gate's output. ``notes`` is the handler's to fill in: its own ``settle`` is given it.
    ``progress`` is where ``tell`` goes, where anybody listens. ``late`` is called, from any thread,
    when something that could not be stopped comes to its end after the attempt. ``clock`` ends the
    attempt when its step's ``timeout_seconds`` are over, which a handler may let begin later.
    """

    step_execution_id: UUID
    execution_id: UUID
    workflow_id: UUID
    workspace_id: UUID
    project_id: UUID | None
    workflow_name: str
    run_number: int
    started_by_id: int | None
    name: str
    step: AnyStep
    attempt: int
    revision: int
    inputs: dict[str, Any]
    depth: int = 0
    revised_at: datetime | None = None
    feedback: str = ""
    previous: Any = None
    prepared: Any = None
    answer: Any = None
    notes: Any = None
    progress: Callable[[str, Mapping[str, Any]], None] | None = None
    late: Callable[[], None] | None = None
    clock: asyncio.Timeout | None = None

    @property
    def idempotency_key(self) -> str:
        return str(self.step_execution_id)

    def tell(self, message: str, **data: Any) -> None:
        """Say how far the attempt is, for people to see while it runs; from any thread.

        Say it as often as you like: about one message a second is written, the latest, and only of
        an attempt that still counts. ``data``: up to ten numbers, short texts and truth values.
        """
        if self.progress is not None:
            self.progress(message, data)


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
    shown on its row. ``takes_over_from``: who failed at it just now."""

    value: Any = None
    agent_instance_id: UUID | None = None
    agent_name: str = ""
    takes_over_from: str = ""


@dataclass(slots=True)
class NotYet:
    """The step has to wait its turn; the engine asks again after ``seconds``, or when woken.

    ``for_people``: it waits for what people have been asked elsewhere.
    """

    seconds: float = 1.0
    for_people: bool = False


@dataclass(slots=True)
class NobodyElse:
    """Nobody is left to take over what failed ``elsewhere``: it was a failure like any other."""


class WorkerFault(Exception):
    """Raised by a work handler: whoever carried the attempt out is at fault, not the work."""


Answer = Prepared | NotYet | NobodyElse | Asks | Failed


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that is over; its outcome is None where it was abandoned: cancelled, or its
    worker died. ``notes``: what the handler left in its context."""

    step_execution_id: UUID
    attempt: int
    outcome: Outcome | None
    notes: Any = None


@runtime_checkable
class ReservingHandler(WorkHandler, Protocol):
    """A work handler that takes something for each attempt and gives it back.

    But for ``run``, all are called inside the engine's transaction, with everything of the batch at
    once.
    """

    def prepare(self, contexts: Sequence[StepContext], now: datetime) -> list[Answer]:
        """Take what each step needs, in order; ``Failed`` if it can never be had."""
        ...

    def settle(self, ended: Sequence[Ended], now: datetime) -> list[EventDraft]:
        """Give back what the attempts held, and write what goes with their outcomes."""
        ...

    def heard(self, step_execution_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
        """Take note that the attempts of these steps have said how far they are."""
        ...


@dataclass(slots=True)
class Opening:
    """A gate to open: the step's context, its texts and what else its ``config`` sets for it, all
    with the references put in. ``approval``: what it asks of whom, if it asks people. ``revises``:
    the step from which on the work is done anew if the gate sends it back; "" where there is
    nothing to do anew.

    ``open`` may say that the gate goes on by itself at ``due_at``, or that it ``failed`` to open.
    """

    context: StepContext
    texts: Mapping[str, str]
    payload: dict[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    approval: Approval | None = None
    revises: str = ""
    due_at: datetime | None = None
    failed: Failed | None = None


@runtime_checkable
class GateHandler(Protocol):
    """A step that waits for something outside the engine. Called inside its transaction."""

    def open(self, openings: Sequence[Opening], now: datetime) -> list[EventDraft]:
        """Write what people are asked; the steps commit as ``waiting`` with it."""
        ...

    def close(self, step_execution_ids: Sequence[UUID]) -> dict[UUID, Outcome]:
        """Return the outcome of those gates that were decided; the others still wait."""
        ...

    def waits_for_people(self, step_execution_ids: Sequence[UUID]) -> Collection[UUID]:
        """Return those of these open gates that go on by what people do, and by nothing else."""
        ...

    def cancel(self, execution_ids: Sequence[UUID], now: datetime, actor: str) -> list[EventDraft]:
        """Withdraw what the open gates of these executions still ask."""
        ...

    def withdraw(
        self, step_execution_ids: Sequence[UUID], now: datetime, actor: str
    ) -> list[EventDraft]:
        """Withdraw what these steps still ask, whose runs go on without them."""
        ...


@dataclass(frozen=True, slots=True)
class Plug:
    """A step type's handler by what it is, found out once: a gate, or work, and if so whether it
    reserves something. The engine carries out some types by itself."""

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
    for step_type in ("condition", "parallel", "sequential"):
        found[step_type] = Plug(gate=None, work=None, reserving=None)  # the engine's own
    return found


def gates() -> list[GateHandler]:
    """Return the handlers that are gates."""
    return [plug.gate for plug in plugs().values() if plug.gate]


def people() -> GateHandler:
    """Return the gate by which people are asked."""
    gate = plugs()["approval"].gate
    assert gate is not None
    return gate


def gate_of(step_type: str) -> GateHandler:
    """Return the gate that a waiting step is at: its own, or that of what it asks people."""
    return plugs()[step_type].gate or people()
