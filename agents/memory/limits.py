"""How much an agent may remember, and for how long.

What the settings say, unless its definition's ``config.memory`` says otherwise, or its own:
``{"max_bytes": …, "max_entries": …, "ttl_seconds": …}``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings

#: A hundred years: beyond them no database counts.
LONGEST_SECONDS: Final = 3_155_760_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that the memory of one agent holds, and how long an entry lives at most."""

    max_bytes: int
    max_entries: int
    ttl_seconds: int


def limits_of(definition: Mapping[str, Any], instance: Mapping[str, Any]) -> Limits:
    """Return the limits of an agent with these two configurations."""
    return Limits(
        _first("max_bytes", instance, definition) or settings.MGX_MEMORY_MAX_BYTES,
        _first("max_entries", instance, definition) or settings.MGX_MEMORY_MAX_ENTRIES,
        min(
            _first("ttl_seconds", instance, definition) or settings.MGX_MEMORY_TTL_SECONDS,
            LONGEST_SECONDS,
        ),
    )


def _first(name: str, *configs: Mapping[str, Any]) -> int | None:
    for config in configs:
        memory = config.get("memory")
        value = memory.get(name) if isinstance(memory, Mapping) else None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value
    return None
