"""How invariants ask: a query, and what its answers mean on either database."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

Row = Sequence[Any]
#: Runs a statement without parameters and returns its rows, perhaps one by one.
Query = Callable[[str], Iterable[Row]]
Check = Callable[[Query], Iterator[str]]

STEP_ENDED = "('completed', 'failed', 'skipped', 'cancelled', 'timeout')"
RUN_ENDED = "('completed', 'failed', 'cancelled', 'timeout')"
STEP_END_EVENTS = "('step_completed', 'step_failed', 'step_skipped')"
RUN_END_EVENTS = "('workflow_completed', 'workflow_failed', 'workflow_cancelled')"
BLOCKS = "('parallel', 'sequential')"


def as_json(value: Any) -> Any:
    """Return what a JSON column holds."""
    return json.loads(value) if isinstance(value, str) else value


def as_moment(value: Any) -> datetime | None:
    """Return what a column of moments holds; SQLite keeps them as text, in UTC."""
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
