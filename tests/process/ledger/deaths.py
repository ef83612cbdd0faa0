"""Lets one process of an installation end at a commit that a file names, as a crash does.

The file ``die_at`` says which commit of a driver it is, and whether it is still made: ``7 before``.
Whoever gets there first takes the file away, so that one process dies of it and no other.
"""

import os
import threading
from pathlib import Path
from typing import Any

from django.db.backends.signals import connection_created

_counted: dict[int, int] = {}


def listen(directory: Path) -> None:
    """Count the commits of the driver in this process."""
    order = directory / "die_at"

    def wrap(connection: Any, **_: Any) -> None:
        if threading.current_thread().name == "mgx-writer":
            commit = connection.commit
            connection.commit = lambda: _commit(commit, order)

    connection_created.connect(wrap, weak=False)


def _commit(commit: Any, order: Path) -> None:
    try:
        number, when = order.read_text().split()
        key = order.stat().st_mtime_ns
    except (OSError, ValueError):
        commit()
        return
    _counted[key] = _counted.get(key, 0) + 1
    is_last = _counted[key] == int(number)
    if is_last and when == "before":
        _die(order)
    commit()
    if is_last:
        _die(order)


def _die(order: Path) -> None:
    try:
        order.rename(order.with_name("died"))
    except FileNotFoundError:  # another process was first
        return
    os._exit(1)
