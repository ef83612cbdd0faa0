"""What a decision's hash covers, and how: pure, so that a receipt can be checked anywhere.

``hash`` is the SHA-256, in hexadecimal, of the canonical JSON (``workflows/core/canonical.py``)
of the record's content: an object of the keys in ``KEYS``. ``previous_hash`` among them is the
hash of the record with the number before it in the workspace, "" for the first; so no record can
be changed, left out or put in between without changing all that came after it. Identifiers are
lower-case text, the moment is UTC to the microsecond: ``2026-03-01T12:00:00.000000Z``.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from workflows.core.canonical import MAX_BYTES, MAX_DEPTH, dumps_canonical

KEYS = (
    "workspace_id",
    "record_number",
    "previous_hash",
    "id",
    "approval_id",
    "user_id",
    "outcome",
    "on_behalf_of_id",
    "stands_for",
    "grant_id",
    "retracts_id",
    "comment",
    "response_data",
    "edited_data",
    "digest",
    "revision",
    "door",
    "is_final",
    "decided_at",
)


def content_of(values: Mapping[str, Any] | Iterable[Any]) -> dict[str, Any]:
    """Return the content of a record from its columns, by name or in the order of ``KEYS``."""
    if isinstance(values, Mapping):
        values = [values[key] for key in KEYS]
    return {key: _plain(value) for key, value in zip(KEYS, values, strict=True)}


def hash_of(content: Mapping[str, Any]) -> str:
    """Return the hash of a record with this content.

    Raises UnstorableError for what is no JSON, as it may come from outside.
    """
    # Two values of the largest size and depth stand in it.
    text = dumps_canonical(content, max_bytes=3 * MAX_BYTES, max_depth=MAX_DEPTH + 1)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).replace(tzinfo=None)
        return moment.isoformat(timespec="microseconds") + "Z"
    return str(value) if isinstance(value, UUID) else value
