"""A driver: the part of a worker process that runs executions.

Two threads: one runs an asyncio loop with the bodies of the steps (``bodies.py``) and listens for
hints (``wakeups.py``), the other one does all the database work (``writer.py``).
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from uuid import UUID

from django.db import connection

from workflows.bulk import ENGINE_CHANNEL
from workflows.engine.bodies import Bodies
from workflows.engine.run import Attempt
from workflows.engine.silence import holder_of
from workflows.engine.wakeups import watch
from workflows.engine.writer import Writer
from workflows.handlers import StepContext

logger = logging.getLogger("workflows.engine")


class _Life(NamedTuple):
    """One life of the loop: a body can end it, and then another one begins."""

    loop: asyncio.AbstractEventLoop
    bodies: Bodies
    finished: asyncio.Event


class Driver:
    """Runs executions from ``start`` until ``stop``.

    ``on_commit`` is called, from the loop's thread, when on SQLite somebody may have written
    events: the loop looks for commits there. PostgreSQL tells whoever listens. ``end_process`` is
    how the process ends whose loop a body holds for too long: nothing else would free it.
    """

    def __init__(
        self,
        on_commit: Callable[[], None] | None = None,
        end_process: Callable[[], None] | None = None,
    ) -> None:
        self._on_commit = on_commit
        self._end_process = end_process or partial(os._exit, 1)
        self._writer = Writer(self)
        self._newest: _Life | None = None
        # The one that the writer knows; it alone changes it.
        self._life: _Life | None = None
        self._ready = threading.Event()
        self._is_over = threading.Event()
        # Not daemons: the process waits for them, and so for the steps that they finish.
        self._threads = [
            threading.Thread(target=self._run_loop, name="mgx-loop"),
            threading.Thread(target=self._run_writer, name="mgx-writer"),
        ]

    def launch(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what runs within the grace, hand back the rest. Returns at once."""
        self._writer.stop()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the driver has stopped, at most ``timeout`` seconds for each thread."""
        for thread in self._threads:
            thread.join(timeout)
        return not any(thread.is_alive() for thread in self._threads)

    # --- what the writer asks, from its thread ---------------------------------------------

    def turn_to_newest_loop(self) -> bool:
        """Return whether it is another one than before: all bodies begun until now are lost."""
        before, self._life = self._life, self._newest
        return self._life is not before

    def ask(self, answer: Callable[[], None]) -> None:
        """Have ``answer`` called from the loop, as soon as no body holds it."""
        self._on_loop(lambda _: answer())

    def give_up(self, seconds: float) -> None:
        """End the process: its loop has been silent for so long. What runs in it counts as lost
        with its worker. Return if somebody looks at the loop with a debugger."""
        assert self._life is not None
        holder, is_debugged = holder_of(self._life.loop, self._threads[0].ident)
        if is_debugged:
            return
        logger.critical(
            "For %.0f seconds no step could go on, and no time limit could end one: the loop was"
            " held by %s. This process ends; sync code belongs in a sync task",
            seconds,
            holder,
        )
        self._end_process()

    def start(self, contexts: list[StepContext]) -> None:
        """Begin the bodies of attempts whose start is committed."""
        self._on_loop(lambda bodies: bodies.start(contexts))

    def cancel(self, execution_ids: list[UUID]) -> None:
        """Stop the bodies of these executions; of all where none is named."""

        def act(bodies: Bodies) -> None:
            for execution_id in execution_ids or bodies.execution_ids:
                bodies.cancel(execution_id)

        self._on_loop(act)

    def cancel_attempts(self, attempts: list[Attempt]) -> None:
        """Stop the bodies of these attempts."""

        def act(bodies: Bodies) -> None:
            for attempt in attempts:
                bodies.cancel_attempt(*attempt)

        self._on_loop(act)

    def _on_loop(self, act: Callable[[Bodies], None]) -> None:
        assert self._life is not None
        with contextlib.suppress(RuntimeError):  # it is over; the writer will turn to the next
            self._life.loop.call_soon_threadsafe(act, self._life.bodies)

    # --- the threads ----------------------------------------------------------------------

    def _run_writer(self) -> None:
        self._ready.wait()
        self.turn_to_newest_loop()
        try:
            self._writer.run()
        finally:
            self._is_over.set()
            assert self._newest is not None
            with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                self._newest.loop.call_soon_threadsafe(self._newest.finished.set)

    def _run_loop(self) -> None:
        while not self._is_over.is_set():
            try:
                asyncio.run(self._serve())
            except BaseException:  # SystemExit in a task that a body has made goes through to here
                logger.exception("A step ended the loop that runs all steps; it begins again")

    async def _serve(self) -> None:
        life = _Life(asyncio.get_running_loop(), self._bodies(), asyncio.Event())
        self._newest = life
        self._ready.set()
        self._writer.hint()
        if self._is_over.is_set():
            return
        hints = asyncio.create_task(self._pass_on_hints())
        await life.finished.wait()
        hints.cancel()

    def _bodies(self) -> Bodies:
        return Bodies(self._writer.report, self._writer.progress)

    async def _pass_on_hints(self) -> None:
        async for _ in watch(ENGINE_CHANNEL):
            self._writer.hint()
            if self._on_commit and connection.vendor == "sqlite":
                self._on_commit()
