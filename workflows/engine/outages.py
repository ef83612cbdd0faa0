"""Whether the database is to blame for an error: that is waited for, all else is a turn's own."""

import sqlite3

from django.db import DatabaseError, InterfaceError, OperationalError, connection

#: Errors that no turn is to blame for: deadlocks and locks, no room left, a shutdown, a broken
#: disk. Of PostgreSQL their classes.
_CIRCUMSTANCES = frozenset(
    {
        *("40", "53", "55", "57", "58"),
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL),
        *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN),
    }
)


def is_outage(error: Exception) -> bool:
    """Tell whether the database seems to be to blame, or the connection to it."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    is_lost = connection.connection is None or not connection.is_usable()
    return isinstance(error, DatabaseError) and is_lost


def is_circumstance(error: Exception) -> bool:
    """Tell whether an error says of itself that no turn is to blame for it."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
    return state[:2] in _CIRCUMSTANCES or code in _CIRCUMSTANCES
