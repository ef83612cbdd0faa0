"""Calls that may be repeated: the same Idempotency-Key gets the same answer and one effect.

Effect and answer commit together: whoever repeats a call whose answer was lost gets that answer,
also after a crash between the two. Refusals are not kept: nothing happened, so the key is free.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import caller
from workflows.api.errors import KeyInFlight, KeyReused
from workflows.core.errors import Problem
from workflows.errors import InvalidInput
from workflows.models import IdempotencyKey

Method = TypeVar("Method", bound=Callable[..., Any])

HEADER = "Idempotency-Key"
_KEPT_HEADERS = ("Location", "ETag")
_in_flight: set[str] = set()
_in_flight_lock = threading.Lock()


def idempotent(method: Method) -> Method:
    """Let a view's method be called once for each Idempotency-Key that its user sends."""

    @wraps(method)
    def once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
        key = request.headers.get(HEADER)
        if key is None:
            return method(view, request, *args, **kwargs)
        _check(key)
        row = IdempotencyKey(user=caller(request), key=key, request_digest=_digest(request))
        with _only_one(f"{caller(request).pk}:{key}"):
            return _answer_once(row, lambda: method(view, request, *args, **kwargs))

    once.is_idempotent = True  # type: ignore[attr-defined]
    return once  # type: ignore[return-value]


def _digest(request: Request) -> str:
    text = json.dumps([request.method, request.get_full_path(), request.data], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check(key: str) -> None:
    if not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        problem = Problem("", "invalid", "1 to 255 printable ASCII characters", f"/{HEADER}")
        raise InvalidInput(f"{HEADER} is not valid.", [problem], code="invalid_idempotency_key")


def _answer_once(row: IdempotencyKey, call: Callable[[], Response]) -> HttpResponse:
    with transaction.atomic():
        _refuse_if_in_flight_elsewhere(f"{row.user_id}:{row.key}")
        known = _known(row) or _insert(row)
        if known is not None:
            return _replay(known, row)
        _fill(row, call())
        row.save(update_fields=["status", "headers", "body"])
    return _answer(row)


def _known(row: IdempotencyKey) -> IdempotencyKey | None:
    return IdempotencyKey.objects.filter(user_id=row.user_id, key=row.key).first()


def _insert(row: IdempotencyKey) -> IdempotencyKey | None:
    """Store ``row``; if another process was faster, return what that one stored."""
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        return IdempotencyKey.objects.get(user_id=row.user_id, key=row.key)
    return None


def _fill(row: IdempotencyKey, answer: Response) -> None:
    row.status = answer.status_code
    row.headers = {name: answer[name] for name in _KEPT_HEADERS if name in answer}
    row.body = JSONRenderer().render(answer.data).decode()


def _replay(known: IdempotencyKey, row: IdempotencyKey) -> HttpResponse:
    if known.request_digest != row.request_digest:
        raise KeyReused(f"This {HEADER} was used for another request; take a new one.")
    answer = _answer(known)
    answer["Idempotent-Replayed"] = "true"
    return answer


def _answer(row: IdempotencyKey) -> HttpResponse:
    return HttpResponse(
        row.body, status=row.status, headers=row.headers, content_type="application/json"
    )


@contextmanager
def _only_one(name: str) -> Iterator[None]:
    """Let one thread of this process in at a time; the others are told to come again."""
    with _in_flight_lock:
        if name in _in_flight:
            raise _busy()
        _in_flight.add(name)
    try:
        yield
    finally:
        with _in_flight_lock:
            _in_flight.discard(name)


def _refuse_if_in_flight_elsewhere(name: str) -> None:
    """The same between processes. SQLite has one writer at a time: there they wait instead."""
    if connection.vendor != "postgresql":
        return
    number = int.from_bytes(
        hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        if not cursor.fetchone()[0]:
            raise _busy()


def _busy() -> KeyInFlight:
    return KeyInFlight(f"The first call with this {HEADER} is not answered yet; try again.")
