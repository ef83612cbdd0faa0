"""The database side of a driver: one thread that takes turns, and the only one that writes.

Whatever has finished while the last transaction was committing goes into the next one together:
the more there is to do, the more steps share a commit.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import (
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)

from workflows.bulk import settle_in
from workflows.clock import database_now
from workflows.core.outcomes import Failed
from workflows.engine import leases, timers
from workflows.engine.holdings import Holdings
from workflows.engine.outages import is_circumstance, is_outage
from workflows.engine.progress import Progress, Told
from workflows.engine.run import Attempt
from workflows.engine.silence import LoopWatch
from workflows.engine.sweeps import sweep
from workflows.engine.turn import Result
from workflows.events import append_events
from workflows.handlers import StepContext

logger = logging.getLogger("workflows.engine")

_RESULTS_A_TURN = 500
#: Of outputs, except that a turn takes one result at least.
_BYTES_A_TURN = 16 * 2**20
_TIMERS_A_TURN = 500
_SCAN_SECONDS = 1.0
#: How often to look for new timers where hint follows hint.
_TIMER_LOOK_SECONDS = 0.02
_SWEEP_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 2.0
#: How many turns are about one execution each after one that failed.
_CAREFUL_TURNS = 500
#: How often the same turn may lose its connection although the database is there.
_LOST_TURNS = 2

Answer = TypeVar("Answer")


class LoopSide(Protocol):
    """What the writer asks of the thread that runs the bodies; called from the writer's."""

    def turn_to_newest_loop(self) -> bool: ...

    def ask(self, answer: Callable[[], None]) -> None: ...

    def give_up(self, seconds: float) -> None: ...

    def start(self, contexts: list[StepContext]) -> None: ...

    def cancel(self, execution_ids: list[UUID]) -> None: ...

    def cancel_attempts(self, attempts: list[Attempt]) -> None: ...


class Writer:
    """Takes turns until it is told to stop."""

    def __init__(self, loop: LoopSide) -> None:
        self._loop = loop
        self._watch = LoopWatch(loop.ask)
        self._is_loop_held = False
        #: What the attempts tell while they run.
        self.progress = Progress(self._wake)
        self._inbox: queue.SimpleQueue[list[Result] | None] = queue.SimpleQueue()
        self._results: list[Result] = []
        self._stopping = threading.Event()
        self._drain_until = 0.0
        self._has_hint = True
        self._next_scan = self._next_heartbeat = self._next_sweep = self._next_timer_look = 0.0
        self._may_be_new_timers = True
        self._next_timer: datetime | None = None
        self._next_run: datetime | None = None
        #: What to add to ``time.monotonic`` to get the database's time: nobody sets that clock.
        self._clock_offset = 0.0
        self._drivers = 1
        self._failures = 0
        self._careful_turns = 0
        #: Turns in a row that have lost their connection, though the database answered at once on
        #: another one; and what they were about, if they were careful.
        self._lost_turns = 0
        self._lost_about: set[UUID] = set()

    # --- called from other threads --------------------------------------------------------

    def report(self, results: list[Result]) -> None:
        """Hand over what attempts came to."""
        self._inbox.put(results)

    def hint(self) -> None:
        """Say that there may be something to claim or to look at."""
        self._has_hint = True
        self._inbox.put(None)

    def _wake(self) -> None:
        self._inbox.put(None)

    def stop(self) -> None:
        """Let what runs finish for ``MGX_DRAIN_SECONDS``, then hand back the rest."""
        self._drain_until = time.monotonic() + settings.MGX_DRAIN_SECONDS
        self._stopping.set()
        self._inbox.put(None)

    # --- the thread -----------------------------------------------------------------------

    def run(self) -> None:
        """Take turns; return after ``stop``."""
        is_there = self._patiently(self._register)
        while is_there and not self._is_done():
            self._collect()
            try:
                self._do_what_is_due()
                self._failures = 0
            except leases.Fenced:
                logger.warning("This driver was taken for dead; it starts again as a new one")
                self._loop.cancel([])
                self._results.clear()
                is_there = self._patiently(self._register)
            except Exception as error:  # the engine outlives whatever a turn meets
                self._recover(error)
        if is_there:
            self._patiently(self._leave)
        connection.close()

    def _register(self) -> None:
        settle_in()
        leases.forget_old_drivers()
        self._holdings = Holdings(leases.register())
        self._set_clock(database_now())

    def _is_done(self) -> bool:
        if not self._stopping.is_set():
            return False
        is_quiet = not self._holdings.in_flight and not self._results
        return is_quiet or time.monotonic() > self._drain_until

    def _collect(self) -> None:
        """Wait for something to do, then take everything that has come."""
        try:
            if not self._results and not self._has_hint:
                self._take(self._inbox.get(timeout=self._pause()))
            while len(self._results) < _RESULTS_A_TURN:
                self._take(self._inbox.get_nowait())
        except queue.Empty:
            return

    def _lose_bodies(self) -> None:
        """Take note that all attempts which have not told their result have ended without one."""
        with suppress(queue.Empty):
            while True:
                self._take(self._inbox.get_nowait())
        self.progress.close_all()
        self._watch.begin_anew()
        self._holdings.in_flight &= {result.key for result in self._results}
        self._holdings.forget()
        self._has_hint = True

    def _heed_silence(self, limit: float) -> None:
        """Begin nothing while a body holds the loop for long, and for too long end the process."""
        if not limit:
            return
        self._watch.look(limit)
        if self._watch.silence > limit:
            self._loop.give_up(self._watch.silence)
        was_held, self._is_loop_held = self._is_loop_held, self._watch.silence > limit / 3
        if self._is_loop_held and not was_held:
            logger.warning("A step holds the loop that runs all steps; nothing begins here now")
        elif was_held and not self._is_loop_held:
            self._holdings.forget()  # to look anew at all that has not begun meanwhile
            self._has_hint = True

    def _take(self, results: list[Result] | None) -> None:
        self._results.extend(results or ())

    def _pause(self) -> float:
        """Return the seconds until something is due by itself, at least a millisecond."""
        now = time.monotonic()
        pauses = [self._next_scan - now, self._next_heartbeat - now]
        if self._may_be_new_timers:
            pauses.append(self._next_timer_look - now)
        if self._stopping.is_set():
            pauses.append(self._drain_until - now)
        if (seconds := self._until_told()) is not None:
            pauses.append(seconds)
        for moment in (self._next_look, self._next_timer, self._next_run):
            if moment:
                pauses.append(moment.timestamp() - self._database_time())
        return max(min(pauses), 0.001)

    def _until_told(self) -> float | None:
        # While turns fail, and while this driver stops, nobody is told how far attempts are.
        is_busy_otherwise = self._careful_turns > 0 or self._stopping.is_set()
        return None if is_busy_otherwise else self.progress.seconds_left()

    def _database_time(self) -> float:
        return time.monotonic() + self._clock_offset

    def _set_clock(self, now: datetime) -> None:
        self._clock_offset = now.timestamp() - time.monotonic()

    def _about_now(self) -> datetime:
        return datetime.fromtimestamp(self._database_time(), UTC)

    def _do_what_is_due(self) -> None:
        if self._loop.turn_to_newest_loop():
            self._lose_bodies()
        self._heed_silence(settings.MGX_LOOP_SILENCE_SECONDS)
        if connection.connection is None:
            settle_in()
        now = time.monotonic()
        if now >= self._next_heartbeat:
            leases.heartbeat(self._holdings.driver_id)
            self._next_heartbeat = now + settings.MGX_HEARTBEAT_SECONDS
        if now >= self._next_sweep:
            leases.take_over_from_the_dead()
            sweep()
            self._drivers = max(leases.count_live(), 1)
            self._next_sweep = now + min(settings.MGX_HEARTBEAT_SECONDS, _SWEEP_SECONDS)
        is_inventory = now >= self._next_scan
        if is_inventory:
            self._next_scan = now + _SCAN_SECONDS
        if self._is_due(self._next_run):
            self._next_run = None
            self._has_hint = True
        has_hint, self._has_hint = self._has_hint, False
        is_runnable = False
        self._may_be_new_timers |= has_hint
        if is_inventory or (self._may_be_new_timers and now >= self._next_timer_look):
            self._may_be_new_timers = False
            self._next_timer_look = now + _TIMER_LOOK_SECONDS
            is_runnable = self._look_at_timers()
        if self._is_due(self._next_timer):
            self._fire_timers()
        has_hint |= is_runnable or (is_inventory and self._holdings.are_to_be_compared)
        told = self.progress.take() if self._until_told() == 0 else []
        if has_hint or told or self._results or self._is_due(self._next_look):
            self._take_turn(told, has_hint=has_hint, is_inventory=is_inventory)

    @property
    def _begins_nothing(self) -> bool:
        return self._is_loop_held or self._stopping.is_set()

    @property
    def _next_look(self) -> datetime | None:
        return None if self._begins_nothing else self._holdings.next_look

    def _is_due(self, moment: datetime | None) -> bool:
        return moment is not None and moment.timestamp() <= self._database_time()

    def _fire_timers(self) -> None:
        now = database_now()
        try:
            self._fire(now)
        except Exception as error:  # one of them cannot be fired; the others are, one by one
            if is_outage(error):
                raise
            logger.exception("A timer cannot be fired now")
            while (due := timers.next_due(now).timer) and due <= now:
                try:
                    self._fire(now, at_most=1)
                except Exception as another:
                    if is_outage(another):
                        raise
                    timers.postpone_first(now)
        self._look_at_timers()
        self._has_hint = True

    def _look_at_timers(self) -> bool:
        """Note what is due next, and what time it is; tell whether there is anything to claim."""
        due = timers.next_due(self._about_now())
        self._set_clock(due.asked_at)
        self._next_timer, self._next_run = due.timer, due.run
        return due.is_runnable

    def _fire(self, now: datetime, at_most: int = _TIMERS_A_TURN) -> None:
        with transaction.atomic():
            append_events(timers.fire_due(now, at_most), now)

    def _take_turn(self, told: list[Told], *, has_hint: bool, is_inventory: bool) -> None:
        is_careful = self._careful_turns > 0
        size = 1 if is_careful else self._how_many_results()
        results, rest = self._results[:size], self._results[size:]
        try:
            after = self._holdings.take_turn(
                results,
                told=told,
                about=self._about_now(),
                drivers=self._drivers,
                has_hint=has_hint,
                is_inventory=is_inventory,
                is_draining=self._begins_nothing,
                is_careful=is_careful,
            )
        except leases.Fenced:
            raise
        except Exception as error:
            if self._was_outage(error, is_careful=is_careful):
                raise
            if is_careful:
                self._blame(results, error)
            self._careful_turns = _CAREFUL_TURNS
            raise
        self._lost_turns = 0
        self._results = rest
        self._careful_turns -= is_careful
        self._clock_offset = after.clock_offset
        self._has_hint |= after.may_claim_more or is_careful
        if after.cancel:
            self._loop.cancel(after.cancel)
        if after.cancel_attempts:
            self._loop.cancel_attempts(after.cancel_attempts)
        if after.start:
            self._loop.start(after.start)

    def _how_many_results(self) -> int:
        """Return how many of the results that have come a turn takes."""
        size = 0
        for number, result in enumerate(self._results[:_RESULTS_A_TURN]):
            size += result.size
            if size > _BYTES_A_TURN and number:
                return number
        return _RESULTS_A_TURN

    def _was_outage(self, error: Exception, *, is_careful: bool) -> bool:
        """Tell whether a turn failed because of the database. It did not if it loses its connection
        again and again while another connection is answered: then it is about too much."""
        about = set(self._holdings.subjects) if is_careful else set()
        if about != self._lost_about:
            self._lost_turns, self._lost_about = 0, about
        if not is_outage(error):
            return False
        if is_circumstance(error) or not self._is_answered():
            self._lost_turns = 0
            return True
        self._lost_turns += 1
        return self._lost_turns < _LOST_TURNS

    def _is_answered(self) -> bool:
        """Ask the database, on another connection, for something as small as a heartbeat."""
        connection.close()
        try:
            settle_in()
            leases.heartbeat(self._holdings.driver_id)
        except (OperationalError, InterfaceError):
            return False
        return True

    def _blame(self, results: list[Result], error: Exception) -> None:
        """End what keeps turns from being written: the attempt at first, or else its whole run."""
        connection.close_if_unusable_or_obsolete()
        if results and results[0].outcome != _unwritable(error):
            results[0].outcome = _unwritable(error)
        else:
            self._holdings.give_up(error)

    def _recover(self, error: Exception) -> None:
        """Forget what a failed turn may have spoiled, and try again a little later."""
        self._failures += 1
        if is_outage(error) and self._lost_turns < _LOST_TURNS:
            logger.warning("The database did not answer: %s", type(error).__name__)
            connection.close()
        else:
            logger.error("A turn failed", exc_info=error)
        self._holdings.forget()
        self._has_hint = True
        time.sleep(min(0.05 * 2 ** min(self._failures, 10), _LONGEST_PAUSE_SECONDS))

    def _leave(self) -> None:
        try:
            self._holdings.hand_back_all()
            leases.sign_off(self._holdings.driver_id)
        except leases.Fenced:
            return

    def _patiently(self, act: Callable[[], None]) -> bool:
        """Do it as soon as the database answers; while stopping, give up after the grace.

        Return whether it was done.
        """
        while True:
            try:
                act()
                return True
            except (OperationalError, InterfaceError) as error:
                logger.warning("The database did not answer: %s", type(error).__name__)
                connection.close()
            if self._stopping.wait(1.0) and time.monotonic() > self._drain_until:
                return False


def _unwritable(error: Exception) -> Failed:
    return Failed("engine_error", type(error).__name__, is_final=True)
