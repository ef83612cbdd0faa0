"""What wakes a thread that works for itself: somebody rings, or the database tells of events."""

import selectors
import socket
from contextlib import suppress

from django.db import connection

from workflows.bulk import EVENTS_CHANNEL


class Bell:
    """Wakes the thread that waits for it.

    On PostgreSQL that thread's own connection listens for events, so that those which come while
    it is at work, or rests, cost nothing. On SQLite somebody has to ring.
    """

    def __init__(self) -> None:
        self._inside, self._outside = socket.socketpair()
        self._inside.setblocking(False)
        self._outside.setblocking(False)

    def ring(self) -> None:
        """Wake who waits, or who will wait next; from any thread."""
        with suppress(OSError):  # it rings already, or nobody is there any more
            self._outside.send(b"\0")

    def listen(self) -> None:
        """Have this thread's new connection told of events."""
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {EVENTS_CHANNEL}")

    def wait(self, seconds: float) -> None:
        """Wait until it rings, somebody has written events, or the time is over."""
        listener = connection.connection if connection.vendor == "postgresql" else None
        with connection.wrap_database_errors, selectors.DefaultSelector() as selector:
            if listener and list(listener.notifies(timeout=0)):
                return
            for each in filter(None, (self._inside, listener)):
                selector.register(each, selectors.EVENT_READ)
            selector.select(max(seconds, 0.0))
            if listener:
                list(listener.notifies(timeout=0))
            with suppress(BlockingIOError):
                while self._inside.recv(1024):
                    pass

    def close(self) -> None:
        """Give back what it holds of the machine."""
        self._inside.close()
        self._outside.close()
