"""What only the REST door refuses: bodies, keys and cursors. ``mgx/errors.py`` maps it to HTTP."""

from workflows.errors import MgxError


class BodyTooLarge(MgxError):
    """The body is longer than ``workflows.api.parsers.most_bytes``."""

    code = "body_too_large"


class UnsupportedEncoding(MgxError):
    """The body is compressed: its size would be known only after it has filled the memory."""

    code = "unsupported_content_encoding"


class CsrfFailed(MgxError):
    """A call with a session came without the token that proves which site it came from."""

    code = "csrf_failed"


class KeyInFlight(MgxError):
    """The first call with this Idempotency-Key is still being worked on."""

    code = "idempotency_key_in_flight"


class KeyReused(MgxError):
    """The Idempotency-Key belongs to another request."""

    code = "idempotency_key_reused"


class CursorTooOld(MgxError):
    """The events after this cursor are not kept any more."""

    code = "cursor_too_old"
