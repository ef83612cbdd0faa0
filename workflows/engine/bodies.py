"""The asyncio side of a driver: it runs the bodies of steps, and touches no database.

Async handlers run on the loop as they are, so one process carries a thousand of them; sync tasks
go to threads. Each attempt ends as exactly one ``Result``, and one more if a thread of it ends only
after that; results of one round of the loop are handed to the writer together.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

from workflows.core.errors import UnstorableError
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.engine.inputs import dump_json
from workflows.engine.progress import Progress
from workflows.engine.turn import Result
from workflows.handlers import StepContext, WorkerFault, plugs
from workflows.logs import LoggedStep, log_for
from workflows.tracing import traced

logger = logging.getLogger("workflows.engine")

MAX_MESSAGE = 2_000


class Bodies:
    """The attempts that this process is running now. All methods belong to the loop's thread."""

    def __init__(self, report: Callable[[list[Result]], None], progress: Progress) -> None:
        self._report = report
        self._progress = progress
        self._tasks: dict[UUID, dict[tuple[UUID, int], asyncio.Task[None]]] = {}
        self._results: list[Result] = []
        self._loop = asyncio.get_running_loop()

    def start(self, contexts: Sequence[StepContext]) -> None:
        """Begin the bodies of attempts whose start is committed."""
        for context in contexts:
            key = (context.step_execution_id, context.attempt)
            self._progress.open(context)
            context.late = partial(self._hear_late, context)
            of_run = self._tasks.setdefault(context.execution_id, {})
            name = f"{context.name} of {context.execution_id}, attempt {context.attempt}"
            of_run[key] = self._loop.create_task(self._run(context), name=name)

    def cancel(self, execution_id: UUID) -> None:
        """Stop the bodies of an execution; they report nothing."""
        for key, task in self._tasks.pop(execution_id, {}).items():
            self._progress.close((execution_id, *key))
            task.cancel()

    def cancel_attempt(self, execution_id: UUID, step_execution_id: UUID, attempt: int) -> None:
        """Stop the body of one attempt; it reports nothing."""
        of_run = self._tasks.get(execution_id, {})
        if task := of_run.pop((step_execution_id, attempt), None):
            self._progress.close((execution_id, step_execution_id, attempt))
            task.cancel()

    @property
    def execution_ids(self) -> list[UUID]:
        """The executions that bodies are running for."""
        return list(self._tasks)

    async def _run(self, context: StepContext) -> None:
        with traced(context) as note:
            outcome = await run_body(context)
            note(outcome)
        key = (context.step_execution_id, context.attempt)
        self._progress.close((context.execution_id, *key))
        of_run = self._tasks.get(context.execution_id)
        if of_run is None:
            return
        of_run.pop(key, None)
        if not of_run:
            del self._tasks[context.execution_id]
        self._add(Result.of(context, outcome))

    def _hear_late(self, context: StepContext) -> None:
        """Report once more an attempt whose end was reported, or that was stopped: for the record,
        for what it comes to now is refused. Called from the thread that has ended."""
        late = Result.of(context, Failed("late", "It ended after its attempt was over"))
        with suppress(RuntimeError):  # the loop has ended before it
            self._loop.call_soon_threadsafe(self._add, late)

    def _add(self, result: Result) -> None:
        if not self._results:
            self._loop.call_soon(self._hand_over)
        self._results.append(result)

    def _hand_over(self) -> None:
        results, self._results = self._results, []
        self._report(results)


async def run_body(context: StepContext) -> Outcome:
    """Run one attempt and return what it came to; only a cancellation gets out."""
    about = LoggedStep(
        context.execution_id, context.name, context.step_execution_id, context.attempt
    )
    log_for(about)
    plug = plugs()[context.step.step_type]
    handler = plug.work
    assert handler is not None
    seconds = context.step.timeout_seconds
    limit = context.clock = asyncio.timeout(seconds) if seconds else None
    try:
        if limit is None:
            outcome = await handler.run(context)
        else:
            async with limit:
                outcome = await handler.run(context)
        if isinstance(outcome, Completed) and outcome.text is None:
            outcome = Completed(outcome.output, dump_json(outcome.output))
    except BaseException as error:  # a body may raise SystemExit, or a cancellation of its own
        if _is_cancelled():
            raise
        outcome = _failure(context, error)
    if limit and limit.expired():
        message = f"The attempt took longer than its {seconds} seconds"
        # Somebody else may be quicker, where somebody was chosen.
        return Failed("timeout", message, is_timeout=True, elsewhere=plug.reserving is not None)
    return outcome


def _is_cancelled() -> bool:
    """Tell whether ``Bodies.cancel``, or the end of the loop, wants the running task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _failure(context: StepContext, error: BaseException) -> Failed:
    if isinstance(error, UnstorableError):
        return Failed(error.code, _bounded(error), is_final=True)
    logger.info("%s failed: %s", context.step.name, type(error).__name__)
    if isinstance(error, WorkerFault):
        return Failed(_code(error), _bounded(error), elsewhere=True)
    return Failed(_code(error), f"{type(error).__name__}: {_bounded(error)}")


def _code(error: BaseException) -> str:
    try:
        code = getattr(error, "code", None)
    except Exception:  # it may be a property, and so the body's code too
        code = None
    return code[:100] if isinstance(code, str) and code.isidentifier() else "error"


def _bounded(error: BaseException) -> str:
    """Return the exception's text, whatever its author did: bounded, and storable."""
    try:
        text = str(error)
    except Exception:  # __str__ is the body's code too
        text = "(its message cannot be read)"
    text = text[:MAX_MESSAGE].replace("\0", "�")
    return text.encode("utf-8", "replace").decode("utf-8")
