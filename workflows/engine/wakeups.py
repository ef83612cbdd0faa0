"""Hints that somebody committed something: LISTEN on PostgreSQL, ``data_version`` on SQLite.

A hint that is lost costs the time until the next scan, nothing else.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection

logger = logging.getLogger("workflows.wakeups")

_RECONNECT_SECONDS = 1.0
#: After a second without a commit SQLite is asked less often: most systems are mostly idle.
_QUIET_AFTER_SECONDS = 1.0
_QUIET_POLL_SECONDS = 0.05


async def watch(channel: str) -> AsyncIterator[None]:
    """Yield whenever a transaction may have committed something for ``channel``; never ends.

    It also yields after every reconnection, for what was missed meanwhile.
    """
    watcher = _listen(channel) if connection.vendor == "postgresql" else _poll_data_version()
    async for _ in watcher:
        yield


async def _listen(channel: str) -> AsyncIterator[None]:
    parameters: dict[str, Any] = connection.get_connection_params()
    parameters = {
        key: value
        for key, value in parameters.items()
        if key not in ("cursor_factory", "context", "prepare_threshold")
    }
    while True:
        try:
            listener = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
            # Not as its own context: being cancelled in there twice would leave it open.
            try:
                await listener.execute(f"LISTEN {channel}")
                yield
                async for _ in listener.notifies():
                    yield
            finally:
                await listener.close()
        except psycopg.OperationalError as error:
            logger.warning("Listening was interrupted: %s", type(error).__name__)
        await asyncio.sleep(_RECONNECT_SECONDS)


async def _poll_data_version() -> AsyncIterator[None]:
    database = sqlite3.connect(
        connection.get_connection_params()["database"],
        uri=True,
        isolation_level=None,
        timeout=0.1,
        check_same_thread=False,
    )
    version = None
    changed_at = time.monotonic()
    try:
        while True:
            try:
                (now,) = database.execute("PRAGMA data_version").fetchone()
            except sqlite3.OperationalError:
                now = version
            if now != version:
                version = now
                changed_at = time.monotonic()
                yield
            is_quiet = time.monotonic() - changed_at > _QUIET_AFTER_SECONDS
            often = settings.MGX_SQLITE_POLL_SECONDS
            await asyncio.sleep(max(often, _QUIET_POLL_SECONDS) if is_quiet else often)
    finally:
        database.close()
