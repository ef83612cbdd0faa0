"""Identifiers: time-ordered ones (RFC 9562, version 7), and those a name decides (version 8)."""

import hashlib
import os
import time
from uuid import UUID

_VARIANT = 0x8000_0000_0000_0000
_V7 = 0x7000 << 64
_V8 = 0x8000 << 64
_KEEP_TOP = ((1 << 128) - 1) ^ (0xF000 << 64) ^ (0xC000_0000_0000_0000)


def uuid7() -> UUID:
    """Return a new identifier that sorts by the millisecond it was made in (RFC 9562, 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=value & _KEEP_TOP | _V7 | _VARIANT)


def step_execution_id(execution_id: UUID, name: str, revision: int) -> UUID:
    """Return the identifier of a step of an execution, known before its row exists.

    It is decided by its arguments, so that a step is written at most once a revision, and
    sorts beside the other steps of its execution (RFC 9562, 5.8: the first 48 bits are the
    execution's time, the rest is a hash).
    """
    digest = hashlib.blake2b(
        f"{revision}:{name}".encode(), key=execution_id.bytes, digest_size=10
    ).digest()
    value = (execution_id.int >> 80) << 80 | int.from_bytes(digest, "big")
    return UUID(int=value & _KEEP_TOP | _V8 | _VARIANT)


def event_id(workspace_id: UUID, seq: int) -> UUID:
    """Return the identifier of a workspace's event: version 8, the workspace's hash and ``seq``."""
    digest = hashlib.blake2b(workspace_id.bytes, digest_size=8).digest()
    value = int.from_bytes(digest, "big") << 64 | seq
    return UUID(int=value & _KEEP_TOP | _V8 | _VARIANT)
