"""Every error of the API as problem details (RFC 9457): the one table from error to HTTP.

No answer ever carries the text of an exception that was not written for people.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.serializers.json import DjangoJSONEncoder
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from rest_framework import exceptions as drf

from workflows.api import errors as api
from workflows.api.request_id import HEADER, request_id
from workflows.core.errors import json_pointer
from workflows.errors import (
    Conflict,
    InvalidInput,
    MgxError,
    NotPermitted,
    NotVisible,
    StaleRevision,
)

log = logging.getLogger("mgx.api")

#: Seconds after which a client should try again while the database is away.
RETRY_AFTER = 2

STATUS: dict[type[MgxError], HTTPStatus] = {
    InvalidInput: HTTPStatus.BAD_REQUEST,
    NotPermitted: HTTPStatus.FORBIDDEN,
    api.CsrfFailed: HTTPStatus.FORBIDDEN,
    NotVisible: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    api.KeyInFlight: HTTPStatus.CONFLICT,
    api.CursorTooOld: HTTPStatus.GONE,
    StaleRevision: HTTPStatus.PRECONDITION_FAILED,
    api.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    api.UnsupportedEncoding: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    api.KeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
}

_TITLES = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Body Too Large"}
_RESERVED = ("type", "title", "status", "detail", "code", "errors", "request_id")


def problem_response(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Return what a client is told about an error (DRF's ``EXCEPTION_HANDLER``)."""
    request = context["request"]
    return problem_of(error, getattr(request, "_request", request))


def problem_of(error: Exception, request: HttpRequest) -> HttpResponse:
    """Return the problem that ``error`` is to the client of ``request``."""
    match error:
        case MgxError():
            return _refusal(error, request)
        case drf.ValidationError():
            listed = list(_flatten(error.detail))
            return problem(request, 400, "invalid", "What was sent is not valid.", errors=listed)
        case drf.APIException():
            return _drf_problem(error, request)
        case Http404():
            return problem(request, 404, "not_found", "There is nothing here for you.")
        case PermissionDenied():
            return problem(request, 403, "permission_denied", "You may not do this.")
        case RequestDataTooBig():
            return problem(request, 413, api.BodyTooLarge.code, "The body is too long.")
        case SuspiciousOperation():
            return problem(request, 400, "bad_request", "The request cannot be understood.")
        case OperationalError() | InterfaceError():
            return _unavailable(error, request)
    return _unexpected(error, request)


def problem(
    request: HttpRequest,
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    facts: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Return problem details; ``facts`` are further members, ``status`` as ``current_status``."""
    name = request_id(request)
    document: dict[str, Any] = {
        "type": f"urn:mgx:problem:{code}",
        "title": _TITLES.get(HTTPStatus(status), HTTPStatus(status).phrase),
        "status": int(status),
        "detail": detail,
        "code": code,
        "errors": errors or [],
        "request_id": name,
    }
    for fact, value in (facts or {}).items():
        document[f"current_{fact}" if fact in _RESERVED else fact] = value
    return HttpResponse(
        json.dumps(document, cls=DjangoJSONEncoder, ensure_ascii=False),
        status=status,
        content_type="application/problem+json",
        headers={HEADER: name, "Cache-Control": "no-store", **(headers or {})},
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer for an address that does not exist (``handler404``)."""
    if _is_api(request):
        return problem(request, 404, "not_found", "There is nothing at this address.")
    return defaults.page_not_found(request, exception)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer for a request that Django itself refuses (``handler400``)."""
    if _is_api(request):
        return problem_of(exception, request)
    return defaults.bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer for what a person may not do (``handler403``)."""
    if _is_api(request):
        return problem_of(exception, request)
    return defaults.permission_denied(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer for an error outside every view (``handler500``); Django has logged it."""
    if not _is_api(request):
        return defaults.server_error(request)
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        return _busy(request)
    return _sorry(request)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _refusal(error: MgxError, request: HttpRequest) -> HttpResponse:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    listed = []
    if isinstance(error, InvalidInput):
        listed = [
            {"pointer": found.path, "code": found.error_type, "message": found.message}
            for found in error.problems
        ]
    return problem(request, status, error.code, error.message, errors=listed, facts=error.facts)


def _drf_problem(error: drf.APIException, request: HttpRequest) -> HttpResponse:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if (seconds := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(int(seconds) + 1)
    codes = error.get_codes()
    code = codes if isinstance(codes, str) else error.default_code
    return problem(request, error.status_code, code, str(error.detail), headers=headers)


def _unavailable(error: Exception, request: HttpRequest) -> HttpResponse:
    log.warning("%s: the database did not answer: %s", request_id(request), type(error).__name__)
    return _busy(request)


def _busy(request: HttpRequest) -> HttpResponse:
    return problem(
        request,
        503,
        "database_unavailable",
        "The database does not answer at the moment. Nothing is known to be lost; try again.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def _unexpected(error: Exception, request: HttpRequest) -> HttpResponse:
    name = request_id(request)
    log.error("%s: %s %s failed", name, request.method, request.path, exc_info=error)
    got_request_exception.send(sender=None, request=request)
    return _sorry(request)


def _sorry(request: HttpRequest) -> HttpResponse:
    return problem(
        request, 500, "internal_error", "Something went wrong here. Quote the request_id."
    )


def _flatten(detail: Any, path: tuple[str | int, ...] = ()) -> Iterator[dict[str, str]]:
    """Yield DRF's nested messages, each with the pointer to what it is about."""
    if isinstance(detail, Mapping):
        for key, inner in detail.items():
            is_whole = key == "non_field_errors"
            yield from _flatten(inner, path if is_whole else (*path, key))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            is_nested = isinstance(inner, Mapping | list)
            yield from _flatten(inner, (*path, index) if is_nested else path)
    else:
        code = getattr(detail, "code", "invalid")
        yield {"pointer": json_pointer(path), "code": code, "message": str(detail)}
