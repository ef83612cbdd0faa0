"""What an entry of an agent's memory is: to be stored, and as it is kept."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID

from agents.memory.trust import Trust, trust_of
from workflows.bulk import as_moment, as_uuid
from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem, UnstorableError
from workflows.errors import InvalidInput, NotVisible

MAX_KEY: Final = 255
#: What a search looks into: so many characters of the different words of an entry, so much of each.
_SEARCHED_CHARACTERS: Final = 200_000
_WORD_CHARACTERS: Final = 100
_WORD: Final = re.compile(r"[^\W_]+")
#: What separates words in ASCII: to split at them takes a third of the time.
_SEPARATORS: Final = {code: " " for code in range(128) if not chr(code).isalnum()}
COLUMNS: Final = (
    "id, memory_key, memory_data, metadata, size_bytes, threaded_from, created_at, updated_at,"
    " expires_at"
)


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What is to be stored. ``ttl_seconds``: how long it is kept; None: as long as the agent's.

    ``trust``: by whom it was written; what ``metadata`` says of that is overwritten.
    """

    memory_key: str
    memory_data: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)
    ttl_seconds: int | None = None
    trust: Trust = Trust.AGENT


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it is kept; ``threaded_from`` is the agent that it was copied from."""

    id: UUID
    memory_key: str
    memory_data: Any
    metadata: dict[str, Any]
    size_bytes: int
    threaded_from: UUID | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None

    @property
    def trust(self) -> Trust:
        """By whom it was written."""
        return trust_of(self.metadata)

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Self:
        """Read a row of ``COLUMNS``."""
        identifier, key, data, metadata, size, threaded_from, created, updated, expires = row
        created_at, updated_at = as_moment(created), as_moment(updated)
        assert created_at is not None
        assert updated_at is not None
        return cls(
            as_uuid(identifier),
            key,
            json.loads(data),
            json.loads(metadata),
            size,
            as_uuid(threaded_from) if threaded_from else None,
            created_at,
            updated_at,
            as_moment(expires),
        )


def check_key(memory_key: Any) -> str:
    """Return a key that can be kept; every character in it stands for itself.

    Raises:
        InvalidInput: it is empty, too long or no text that every database keeps alike.
    """
    if not isinstance(memory_key, str) or not 0 < len(memory_key) <= MAX_KEY:
        raise _refusal("invalid_key", f"A key has 1 to {MAX_KEY} characters", "/memory_key")
    if "\0" in memory_key or not memory_key.isascii():
        as_json(memory_key, "/memory_key", MAX_KEY * 6 + 2)
    return memory_key


def as_json(value: Any, pointer: str, max_bytes: int) -> str:
    """Return the canonical JSON of ``value``.

    Raises:
        InvalidInput: it has none, or a longer one.
    """
    try:
        return dumps_canonical(value, max_bytes=max_bytes)
    except UnstorableError as error:
        raise _refusal(error.reason, error.message, pointer + (error.path or "")) from None


def as_identifier(value: Any) -> UUID:
    """Read the id of an agent or a workspace.

    Raises:
        NotVisible: it is none.
    """
    if isinstance(value, UUID):
        return value
    try:
        return UUID(str(value))
    except ValueError:
        raise no_agent() from None


def no_agent() -> NotVisible:
    """Return the refusal of an agent that is not there, or in another workspace."""
    return NotVisible("There is no such agent in this workspace.")


def too_short_or_long(ttl_seconds: Any, longest: int) -> InvalidInput:
    """Return the refusal of a time to live."""
    return _refusal("invalid_ttl", f"1 to {longest} seconds, not {ttl_seconds!r:.40}", "/ttl")


def way_of(metadata: Mapping[str, Any]) -> list[str]:
    """Return the ids of the agents that an entry came through, the first one first."""
    way = metadata.get("threaded_through")
    if isinstance(way, list):
        return way
    return [metadata["threaded_from"]] if "threaded_from" in metadata else []


def words_of(*values: Any) -> list[str]:
    """Return the different words in texts, keys and numbers, each in lower case, in order."""
    found: dict[str, None] = {}
    characters = 0
    for text in _texts(values):
        for word in dict.fromkeys(_split(text.casefold())):
            short = word[:_WORD_CHARACTERS]
            if short not in found:
                found[short] = None
                characters += len(short) + 1
        if characters > _SEARCHED_CHARACTERS:
            break
    return list(found)


def _split(text: str) -> list[str]:
    return text.translate(_SEPARATORS).split() if text.isascii() else _WORD.findall(text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value[:_SEARCHED_CHARACTERS]
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _refusal(code: str, message: str, pointer: str) -> InvalidInput:
    return InvalidInput(f"{message}.", [Problem("", code, message, pointer)], code=code)
