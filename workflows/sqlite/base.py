"""Django's SQLite backend, in which writers of all processes queue up.

SQLite has one writer at a time, and whoever waits for it asks again after growing pauses: beside
a process that writes all the time, others starve for seconds. Here a writer first takes an
advisory lock (flock) on a file beside the database, and the system hands that on at once to who
has waited longest. Correctness does not depend on it: SQLite's own lock is taken as ever. The
hooks that it overrides (``_commit`` and the like) are Django's own seams for its backends, which
the stubs leave out.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.db.backends.sqlite3 import base

_READS = ("SELECT", "PRAGMA", "EXPLAIN", "WITH", "SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN")


class QueueingCursor(base.SQLiteCursorWrapper):
    """Queues up for a statement that writes outside any transaction."""

    wrapper: "DatabaseWrapper"

    def execute(self, query: str, params: Any = None) -> Any:
        if self.wrapper.is_write(query):
            with self.wrapper.queued():
                return super().execute(query, params)
        return super().execute(query, params)

    def executemany(self, query: str, param_list: Any) -> Any:
        if self.wrapper.is_write(query):
            with self.wrapper.queued():
                return super().executemany(query, param_list)
        return super().executemany(query, param_list)


def _now() -> str:
    """Return the time as Django keeps moments in SQLite."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that holds its place in the queue for the length of each transaction."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._queue: int | None = None
        self._is_first = False

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        # As in PostgreSQL, so that a condition on time reads the same on both.
        connection.create_function("statement_timestamp", 0, _now)
        return connection

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = self.connection.cursor(factory=QueueingCursor)
        cursor.wrapper = self
        return cursor

    def is_write(self, query: str) -> bool:
        """Tell whether a statement makes a transaction of its own that writes."""
        if self._is_first or not self.get_autocommit():
            return False
        return not str(query).lstrip().upper().startswith(_READS)

    @contextmanager
    def queued(self) -> Iterator[None]:
        """Wait for this connection's turn to write, and hold it meanwhile."""
        self._queue_up()
        try:
            yield
        finally:
            self._leave_queue()

    def _start_transaction_under_autocommit(self) -> None:
        self._queue_up()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._leave_queue()
            raise

    def _commit(self) -> None:
        try:
            super()._commit()  # type: ignore[misc]
        finally:
            self._leave_queue()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._leave_queue()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            if self._queue is not None:
                os.close(self._queue)
                self._queue = None
                self._is_first = False

    def _queue_up(self) -> None:
        if self._queue is None:
            path = str(self.settings_dict["NAME"])
            if self.is_in_memory_db():
                return
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._queue = os.open(f"{path}-queue", flags, 0o600)
        fcntl.flock(self._queue, fcntl.LOCK_EX)
        self._is_first = True

    def _leave_queue(self) -> None:
        if self._is_first:
            assert self._queue is not None
            self._is_first = False
            fcntl.flock(self._queue, fcntl.LOCK_UN)
