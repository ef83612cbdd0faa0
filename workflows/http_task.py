"""The task ``http.request``: one HTTP request to an address outside."""

import asyncio
import base64
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from workflows.core.canonical import dumps_canonical, loads_strict
from workflows.core.errors import CanonicalError
from workflows.handlers import StepContext
from workflows.net import ForbiddenAddress, UnknownHost, check_url, origin_of
from workflows.tasks import TaskFailure, task

MAX_RESPONSE_BYTES = 1_048_576
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SHOWN_HEADERS = frozenset(
    (
        "content-language",
        "content-type",
        "date",
        "etag",
        "last-modified",
        "link",
        "location",
        "retry-after",
        "x-request-id",
    )
)
#: What the request itself decides.
_OWN_HEADERS = frozenset({"host", "connection", "content-length", "transfer-encoding"})
_CHARSETS = frozenset({"utf-8", "us-ascii", "ascii", "iso-8859-1", "windows-1252"})
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


def _allowed_url(url: str) -> str:
    try:
        return check_url(url)
    except ForbiddenAddress as error:
        raise PydanticCustomError("forbidden_address", "{why}", {"why": str(error)}) from None


def _clean_headers(headers: dict[str, str]) -> dict[str, str]:
    """Refuse what would not be sent as it stands; a refusal never tells a value."""
    for name, value in headers.items():
        if not name or not set(name.lower()) <= _TOKEN or name.lower() in _OWN_HEADERS:
            raise PydanticCustomError(
                "invalid_header", "The header {name} cannot be set", {"name": repr(name)}
            )
        if not value.isprintable() or not value.isascii() or value != value.strip():
            raise PydanticCustomError(
                "invalid_header", "The value of the header {name} cannot be sent", {"name": name}
            )
    return headers


Url = Annotated[str, Field(max_length=2_000), AfterValidator(_allowed_url)]
Headers = Annotated[dict[str, str], Field(max_length=50), AfterValidator(_clean_headers)]
Status = Annotated[int, Field(ge=100, le=599)]


@task("http.request")
async def request(
    context: StepContext,
    url: Url,
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = "GET",
    headers: Headers | None = None,
    json: Any = None,
    body: str | None = None,
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 30.0,
    expected_statuses: list[Status] | None = None,
) -> dict[str, Any]:
    """Send a request and return ``status``, ``headers`` and ``json``, ``body`` or ``body_base64``.

    Any status but ``expected_statuses`` (by default 200 to 299) is a failure with the code
    ``http_404``, say. Every attempt of a step that is not only a question carries the same
    ``Idempotency-Key``. Redirects are not followed.
    """
    content, headers = _content(json, body, headers or {})
    if method not in _SAFE_METHODS:
        headers = {"Idempotency-Key": context.idempotency_key} | headers
    where = f"{method} {origin_of(url)}"
    try:
        async with asyncio.timeout(timeout_seconds):
            status, reason, sent, payload = await _send(
                method, url, headers, content, timeout_seconds
            )
    except TimeoutError:
        message = f"{where} was not answered within {timeout_seconds:g} seconds"
        raise TaskFailure(message, "timeout") from None
    except ForbiddenAddress as error:
        raise TaskFailure(f"{where}: {error}", error.code, is_final=True) from None
    except UnknownHost as error:
        raise TaskFailure(f"{where}: {error}", error.code) from None
    is_expected = status in expected_statuses if expected_statuses else 200 <= status < 300
    if not is_expected:
        raise TaskFailure(f"{where} was answered {status} {reason}".rstrip(), f"http_{status}")
    shown = {name: value for name, value in sent.items() if name in _SHOWN_HEADERS}
    return {"status": status, "headers": shown, **_read(payload, sent.get("content-type", ""))}


def _content(
    json: Any, body: str | None, headers: dict[str, str]
) -> tuple[bytes | None, dict[str, str]]:
    if json is not None and body is not None:
        raise TaskFailure("A request has json or a body, not both", "invalid_inputs", is_final=True)
    if json is None:
        return (None if body is None else body.encode()), headers
    if not any(name.lower() == "content-type" for name in headers):
        headers = {"Content-Type": "application/json"} | headers
    return dumps_canonical(json).encode(), headers


async def _send(
    method: str, url: str, headers: dict[str, str], content: bytes | None, timeout: float
) -> tuple[int, str, dict[str, str], bytes]:
    """Return the answer's status, its words, its headers and its body; raise TimeoutError, and
    TaskFailure with none of what httpx says, for that may hold what was sent."""
    import httpx  # it takes a while, and most processes never send anything

    from workflows.transport import guarded_client

    try:
        async with (
            guarded_client(timeout) as client,
            client.stream(method, url, headers=headers, content=content) as response,
        ):
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise TaskFailure(f"{origin_of(url)} sends only compressed data", "http_compressed")
            payload = bytearray()
            async for chunk in response.aiter_raw():
                payload += chunk
                if len(payload) > MAX_RESPONSE_BYTES:
                    message = f"{origin_of(url)} sent more than {MAX_RESPONSE_BYTES} bytes"
                    raise TaskFailure(message, "http_too_large")
            names = {name.lower(): value for name, value in response.headers.items()}
            return response.status_code, response.reason_phrase[:100], names, bytes(payload)
    except httpx.TimeoutException:
        raise TimeoutError from None
    except httpx.ConnectError:
        raise TaskFailure(f"{origin_of(url)} cannot be reached", "http_unreachable") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"{origin_of(url)} was not understood: {type(error).__name__}"
        raise TaskFailure(message, "http_error") from None


def _read(payload: bytes, content_type: str) -> dict[str, Any]:
    """Return a body under the name that says what it is: ``json``, ``body`` or ``body_base64``."""
    kind, _, rest = content_type.partition(";")
    kind = kind.strip().lower()
    if payload and (kind == "application/json" or kind.endswith("+json")):
        try:
            return {"json": loads_strict(payload)}
        except CanonicalError as error:
            raise TaskFailure(
                f"The answer is no JSON: {error.message}", "http_invalid_json"
            ) from None
    _, _, charset = rest.lower().partition("charset=")
    charset = charset.split(";")[0].strip(" \"'") or "utf-8"
    if charset in _CHARSETS and b"\0" not in payload:
        try:
            return {"body": payload.decode(charset)}
        except UnicodeDecodeError:
            pass
    return {"body_base64": base64.b64encode(payload).decode()}
