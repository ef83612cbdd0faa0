"""What must hold in the database, asked of all apps at one moment of it.

It can be asked while the engine works: each of the engine's transactions leaves everything right,
and what is read is what had committed at one moment.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from agents import invariants as of_agents
from approvals import invariants as of_approvals
from workflows import invariants as of_workflows
from workflows.invariants.asking import Check, Query, Row
from workflows.invariants.ownership import no_silent_owner

CHECKS: tuple[Check, ...] = (*of_workflows.CHECKS, *of_approvals.CHECKS, *of_agents.CHECKS)

_ROWS_AT_ONCE = 2_000


def find_violations(query: Query, *, longest_silence_seconds: float | None = None) -> Iterator[str]:
    """Yield a sentence for everything that does not hold.

    ``longest_silence_seconds``: how long a driver may not have been heard of that holds runs.
    """
    # First, for it compares with the clock, which goes on while the rest is asked.
    if longest_silence_seconds is not None:
        yield from no_silent_owner(longest_silence_seconds)(query)
    for check in CHECKS:
        yield from check(query)


@contextmanager
def one_moment() -> Iterator[Query]:
    """Give a query whose answers are all of one moment of the database. It locks nothing."""

    def ask(sql: str) -> Iterator[Row]:
        with connection.chunked_cursor() as cursor:
            cursor.execute(sql)
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                yield from rows

    if connection.vendor == "postgresql":
        with transaction.atomic():
            _execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # Between two questions this connection only thinks, and not about rows it has locked.
            _execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield ask
        return
    # Django's own transactions of SQLite begin as writers, and keep others waiting.
    _execute("BEGIN DEFERRED")
    try:
        yield ask
    finally:
        _execute("ROLLBACK")


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
