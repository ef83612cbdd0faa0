"""The one clock that deadlines are judged by: the database's."""

from datetime import UTC, datetime

from django.db import connection


def database_now() -> datetime:
    """Return the current time in UTC as the database sees it.

    SQLite runs inside the process and has the process's clock; on PostgreSQL a machine whose own
    clock is wrong still expires nothing early.
    """
    if connection.vendor != "postgresql":
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


def in_utc(moment: datetime) -> datetime:
    """Return a moment from outside in UTC, by which databases compare.

    Raises:
        ValueError: it has no time zone, or is out of the range of all moments in UTC.
    """
    if moment.tzinfo is None:
        raise ValueError("A moment needs a time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("There is no such moment in UTC") from None
