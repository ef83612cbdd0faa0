"""Is this web process alive, and is the installation ready for work?

``/livez`` and ``/readyz``, and ``/metrics`` with them, are answered before anything else looks at
the request: whoever asks may know no valid host name, and ``/livez`` must need neither a thread
nor the database.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from mgx.metrics import answer_metrics
from workflows.clock import database_now
from workflows.models import EngineDriver

Answer = HttpResponseBase | Awaitable[HttpResponseBase]


class HealthMiddleware:
    """The first of all middleware: it answers the three addresses and passes on the rest."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Answer]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Answer:
        return self._acall(request) if self._is_async else self._call(request)

    def _call(self, request: HttpRequest) -> Answer:
        if request.path == "/livez":
            return _live()
        if request.path == "/readyz":
            return _ready()
        if request.path == "/metrics":
            return answer_metrics(request)
        return self._get_response(request)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        if request.path == "/livez":
            return _live()
        if request.path == "/readyz":
            return await sync_to_async(_ready)()
        if request.path == "/metrics":
            return await sync_to_async(answer_metrics)(request)
        answer = self._get_response(request)
        return await answer if isinstance(answer, Awaitable) else answer


def _live() -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain", headers={"Cache-Control": "no-store"})


def _ready() -> JsonResponse:
    findings = {"database": False, "migrations": False, "engine": False}
    try:
        executor = MigrationExecutor(connection)
        findings["database"] = True
        findings["migrations"] = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        findings["engine"] = findings["migrations"] and _has_live_driver()
    except DatabaseError:
        connection.close()
    ready = all(findings.values())
    return JsonResponse(
        {"ready": ready, **findings},
        status=200 if ready else 503,
        headers={"Cache-Control": "no-store"} | ({} if ready else {"Retry-After": "5"}),
    )


def _has_live_driver() -> bool:
    late = database_now() - timedelta(seconds=settings.MGX_LEASE_SECONDS)
    return EngineDriver.objects.filter(
        fenced_at__isnull=True, stopped_at__isnull=True, heartbeat_at__gt=late
    ).exists()
