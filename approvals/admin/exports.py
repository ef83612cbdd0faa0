"""How a row's columns stand in a file."""

from datetime import datetime
from typing import Any


def cell_of(row: Any, name: str) -> Any:
    """Return a column of a row for a CSV: moments in ISO 8601, other rows by their names."""
    value = getattr(row, name)
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, int | str) else str(value)
