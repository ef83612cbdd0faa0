"""The relay of a worker: a thread beside its driver that reads streams and sends what is due.

It does all the database work of the readers (``streams.py``) and of the outboxes
(``settings.OUTBOXES``); what leaves this machine leaves from threads of its own, so that a slow
receiver holds up nobody but those who wait for the same outbox. Whatever is sent is sent at least
once: a process that dies between sending and recording leaves a row that is due again.
"""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from typing import Any, Protocol

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils.module_loading import import_string

from workflows.bell import Bell
from workflows.bulk import settle_in
from workflows.clock import database_now
from workflows.streams import Reading, begin_at_the_end, load_readers

logger = logging.getLogger("workflows.relay")

#: Seconds until the relay looks without having been woken.
_SCAN_SECONDS = 2.0
#: Seconds between two looks, however often it is woken: many commits, one look.
_REST_SECONDS = 0.5
#: The same while messages are being taken out of an outbox.
_BUSY_SECONDS = 0.02
#: Seconds between two looks for workspaces that a reader has no cursor in.
_NEW_WORKSPACES_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 10.0


class Outbox(Protocol):
    """Rows that are to be sent. All but ``send`` is called from the relay's thread."""

    #: How many messages are on their way at once, in one process.
    at_once: int

    def next_due(self) -> datetime | None:
        """Return when the next message is due; None if none waits."""
        ...

    def claim(self, now: datetime, at_most: int, sending: Sequence[Any]) -> Sequence[Any]:
        """Take messages that are due, with all that sending them needs.

        They are nobody else's for as long as sending may take. ``sending``: what this process
        has taken before and not yet recorded.
        """
        ...

    def send(self, message: Any) -> Any:
        """Send a message, without the database; return what ``record`` is to know of it."""
        ...

    def record(self, sent: Sequence[tuple[Any, Any]], now: datetime) -> None:
        """Write what messages came to, those of them that are still this process's own."""
        ...


class Relay:
    """Works from ``launch`` until ``stop``."""

    def __init__(self) -> None:
        self._bell = Bell()
        self._stopping = threading.Event()
        # No daemon: the process waits for it, and so for what is on its way.
        self._thread = threading.Thread(target=self._run, name="mgx-relay")
        self._readers = load_readers()
        self._reading = Reading(self._readers)
        self._desks = [
            _Desk(name, import_string(path)(), self._bell)
            for name, path in settings.OUTBOXES.items()
        ]
        self._next_beginning = 0.0

    def launch(self) -> None:
        """Start the thread."""
        self._thread.start()

    def hint(self) -> None:
        """Say that there may be something to read or to send; from any thread."""
        self._bell.ring()

    def stop(self) -> None:
        """Let what is being sent arrive within ``MGX_DRAIN_SECONDS``. Returns at once."""
        self._stopping.set()
        self._bell.ring()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the relay has stopped; return whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def look(self) -> float:
        """Read what is new, send what is due; return the seconds until something is to be done."""
        if time.monotonic() >= self._next_beginning:
            begin_at_the_end(self._readers)
            self._next_beginning = time.monotonic() + _NEW_WORKSPACES_SECONDS
        has_more = self._reading.read_news()
        now = database_now()
        pauses = [desk.work(now) for desk in self._desks]
        return 0.0 if has_more else min([_SCAN_SECONDS, *pauses])

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                if connection.connection is None:
                    settle_in()
                    self._bell.listen()
                pause = self.look()
                failures = 0
                self._stopping.wait(min(pause, _REST_SECONDS))
                self._bell.wait(pause - _REST_SECONDS)
            except Exception as error:  # the relay outlives whatever a look meets
                failures += 1
                _tell(error)
                self._stopping.wait(min(0.5 * 2**failures, _LONGEST_PAUSE_SECONDS))
        self._finish()

    def _finish(self) -> None:
        end = time.monotonic() + settings.MGX_DRAIN_SECONDS
        for desk in self._desks:
            try:
                desk.finish(max(end - time.monotonic(), 0.0))
            except (OperationalError, InterfaceError) as error:
                _tell(error)
        connection.close()
        self._bell.close()


class _Desk:
    """An outbox with the threads that send for it."""

    def __init__(self, name: str, outbox: Outbox, bell: Bell) -> None:
        self._outbox = outbox
        self._bell = bell
        self._pool = ThreadPoolExecutor(outbox.at_once, thread_name_prefix=f"mgx-{name}")
        self._sending: dict[Future[Any], Any] = {}
        self._sent: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def work(self, now: datetime) -> float:
        """Record what was sent, take what is due; return the seconds until the next is."""
        self._record(now)
        due = self._outbox.next_due()
        if due is None:
            return _SCAN_SECONDS
        free = self._outbox.at_once - len(self._sending)
        if due > now or not free:
            return max((due - now).total_seconds(), _REST_SECONDS)
        claimed = self._outbox.claim(now, free, list(self._sending.values()))
        for message in claimed:
            future = self._pool.submit(self._outbox.send, message)
            self._sending[future] = message
            future.add_done_callback(self._note)
        return _BUSY_SECONDS if claimed else _REST_SECONDS

    def finish(self, seconds: float) -> None:
        """Wait for what is being sent, and record it."""
        wait(self._sending, seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._record(database_now())

    def _note(self, future: Future[Any]) -> None:
        self._sent.put(future)
        self._bell.ring()

    def _record(self, now: datetime) -> None:
        sent = []
        while not self._sent.empty():
            future = self._sent.get()
            message = self._sending.pop(future)
            if future.cancelled():
                continue
            if error := future.exception():
                logger.error("A message could not be sent", exc_info=error)
                continue
            sent.append((message, future.result()))
        if sent:
            self._outbox.record(sent, now)


def _tell(error: Exception) -> None:
    if isinstance(error, OperationalError | InterfaceError):
        logger.warning("The database did not answer: %s", type(error).__name__)
        connection.close()
    else:
        logger.error("Reading or sending failed", exc_info=error)
