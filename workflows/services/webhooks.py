"""Webhooks: who may be called with a workspace's events, with which secret, and once more.

All of it is for admins of the workspace. A secret is returned by the verb that makes it, and by
nothing else.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from workflows.bulk import insert_objects, wake_engine
from workflows.clock import database_now
from workflows.core.errors import Problem
from workflows.errors import Conflict, InvalidInput, NotVisible
from workflows.events import EventDraft, EventType, append_events
from workflows.models import (
    EventStream,
    Role,
    SigningSecret,
    User,
    WebhookDelivery,
    WebhookEndpoint,
    Workspace,
)
from workflows.net import ForbiddenAddress, check_url
from workflows.services.access import require_role
from workflows.webhooks.signing import new_secret

MAX_ENDPOINTS = 50
MAX_URL = 2_000
MAX_REPLAYS = 1_000
#: How long the secret before the newest one still signs, in seconds.
OVERLAP_SECONDS = 86_400
MAX_OVERLAP_SECONDS = 30 * 86_400
TEST_EVENT = "webhook_test"


def find_wrong_address(url: str, pointer: str) -> list[Problem]:
    """Return what is wrong with an address that MGX is to call."""
    if len(url) > MAX_URL:
        message = f"An address has at most {MAX_URL} characters"
        return [Problem("", "too_long", message, pointer)]
    try:
        check_url(url)
    except ForbiddenAddress as error:
        return [Problem("", error.code, str(error), pointer)]
    return []


def create_endpoint(
    workspace: Workspace,
    *,
    user: User,
    url: str,
    description: str = "",
    event_types: Sequence[str] = (),
) -> WebhookEndpoint:
    """Have an address called with what happens from now on; all of it if no type is named.

    Raises NotVisible, NotPermitted, InvalidInput, and Conflict ``too_many``.
    """
    require_role(user, workspace.pk, Role.ADMIN)
    _check(url=url, event_types=event_types)
    with transaction.atomic():
        stream = EventStream.objects.get(workspace=workspace)
        if WebhookEndpoint.objects.filter(workspace=workspace).count() >= MAX_ENDPOINTS:
            raise Conflict(f"A workspace has at most {MAX_ENDPOINTS} webhooks.", code="too_many")
        endpoint: WebhookEndpoint = WebhookEndpoint.objects.create(
            workspace=workspace,
            url=url,
            description=description,
            event_types=list(event_types),
            secret=new_secret(),
            after_seq=stream.last_seq,
            created_by=user,
            created_at=database_now(),
        )
    return endpoint


def change_endpoint(endpoint_id: UUID, *, user: User, **changes: Any) -> WebhookEndpoint:
    """Set some of ``url``, ``description``, ``event_types`` and ``is_active``.

    One that is switched on again is called with what happens from then on. Raises as
    ``create_endpoint`` does.
    """
    with transaction.atomic():
        endpoint = _take(endpoint_id, user)
        _check(**{key: changes[key] for key in ("url", "event_types") if key in changes})
        was_active = endpoint.is_active
        for name, value in changes.items():
            setattr(endpoint, name, value)
        if endpoint.is_active and not was_active:
            stream = EventStream.objects.get(workspace_id=endpoint.workspace_id)
            endpoint.after_seq = stream.last_seq
            endpoint.failing_since, endpoint.disabled_reason = None, ""
        if was_active and not endpoint.is_active:
            endpoint.disabled_reason = f"Switched off by {user.username}."
            _give_up_pending(endpoint_id)
        endpoint.save()
    return endpoint


def delete_endpoint(endpoint_id: UUID, *, user: User) -> None:
    """Call an address no more, and forget its deliveries. Raises NotVisible, NotPermitted."""
    with transaction.atomic():
        _take(endpoint_id, user).delete()


def disable_endpoint(endpoint_id: UUID, reason: str, now: datetime) -> None:
    """Call an address no more until somebody switches it on; inside a transaction."""
    active = WebhookEndpoint.objects.filter(id=endpoint_id, is_active=True)
    if not active.update(is_active=False, disabled_reason=reason):
        return
    _give_up_pending(endpoint_id)
    endpoint = WebhookEndpoint.objects.get(id=endpoint_id)
    event = EventDraft(
        event_type=EventType.WEBHOOK_DISABLED,
        workspace_id=endpoint.workspace_id,
        # Not its address: that may hold what is secret between the two sides.
        data={"webhook_id": str(endpoint.pk), "reason": reason},
        message=f"A webhook was disabled. {reason}",
    )
    append_events([event], now)


def rotate_secret(
    endpoint_id: UUID, *, user: User, overlap_seconds: int = OVERLAP_SECONDS
) -> WebhookEndpoint:
    """Give an endpoint a new secret; the one before it signs too for ``overlap_seconds``.

    Raises NotVisible and NotPermitted.
    """
    with transaction.atomic():
        endpoint = _take(endpoint_id, user)
        _rotate(endpoint, overlap_seconds)
        endpoint.save()
    return endpoint


def rotate_signing_secret(
    workspace: Workspace, *, user: User, overlap_seconds: int = OVERLAP_SECONDS
) -> SigningSecret:
    """Give a workspace a new secret for calls to a ``callback_url``.

    Raises NotVisible and NotPermitted.
    """
    require_role(user, workspace.pk, Role.ADMIN)
    with transaction.atomic():
        signing_secret(workspace.pk)
        secret: SigningSecret = SigningSecret.objects.select_for_update().get(workspace=workspace)
        _rotate(secret, overlap_seconds)
        secret.save()
    return secret


def signing_secret(workspace_id: UUID) -> SigningSecret:
    """Return the secret by which a workspace signs calls to a ``callback_url``; one is made if
    there is none, which nobody knows until an admin asks for a new one."""
    secret, _ = SigningSecret.objects.get_or_create(
        workspace_id=workspace_id, defaults={"secret": new_secret(), "created_at": database_now()}
    )
    return secret


def send_test(endpoint_id: UUID, *, user: User) -> WebhookDelivery:
    """Call an endpoint about nothing, to see whether it answers; also a disabled one.

    Raises NotVisible and NotPermitted.
    """
    with transaction.atomic():
        endpoint = _take(endpoint_id, user)
        now = database_now()
        delivery: WebhookDelivery = WebhookDelivery.objects.create(
            workspace_id=endpoint.workspace_id,
            endpoint=endpoint,
            event_type=TEST_EVENT,
            details={"message": "Signed like every call from here."},
            created_at=now,
            due_at=now,
        )
        wake_engine()
    return delivery


def replay(
    endpoint_id: UUID, *, user: User, delivery_ids: Collection[UUID] | None = None
) -> list[WebhookDelivery]:
    """Call an endpoint again with the same messages: those named, or all that failed.

    The receiver knows them by their ids. Raises NotVisible, NotPermitted, InvalidInput
    ``unknown_delivery``, and Conflict ``disabled``.
    """
    with transaction.atomic():
        endpoint = _take(endpoint_id, user)
        if not endpoint.is_active:
            raise Conflict("The webhook is disabled; switch it on first.", code="disabled")
        rows = _chosen(endpoint, delivery_ids)
        return _repeat(rows, database_now())


def replay_deliveries(rows: Iterable[WebhookDelivery], *, user: User) -> list[WebhookDelivery]:
    """Send these deliveries again, whichever webhook or request they are of.

    Raises NotVisible and NotPermitted, and Conflict ``disabled``.
    """
    found = list(rows)
    for workspace_id in {row.workspace_id for row in found}:
        require_role(user, workspace_id, Role.ADMIN)
    off = WebhookEndpoint.objects.filter(id__in=[row.endpoint_id for row in found], is_active=False)
    if off.exists():
        raise Conflict("The webhook is disabled; switch it on first.", code="disabled")
    with transaction.atomic():
        return _repeat(found, database_now())


def _repeat(rows: Sequence[WebhookDelivery], now: datetime) -> list[WebhookDelivery]:
    """Make deliveries anew, due at once."""
    again = [
        WebhookDelivery(
            workspace_id=row.workspace_id,
            endpoint_id=row.endpoint_id,
            url=row.url,
            event_seq=row.event_seq,
            event_type=row.event_type,
            details=row.details,
            replay_of_id=row.replay_of_id or row.pk,
            created_at=now,
            due_at=now,
        )
        for row in rows
    ]
    insert_objects(again)
    wake_engine()
    return again


def _chosen(endpoint: WebhookEndpoint, ids: Collection[UUID] | None) -> list[WebhookDelivery]:
    """Return the deliveries to repeat; of those that failed the ones not repeated yet."""
    own: QuerySet[WebhookDelivery] = WebhookDelivery.objects.filter(endpoint=endpoint)
    if ids is None:
        failed = own.filter(status="failed", event_seq__isnull=False, replays__isnull=True)
        return list(failed.filter(replay_of__isnull=True).order_by("created_at")[:MAX_REPLAYS])
    found = list(own.filter(id__in=ids).order_by("created_at"))
    known = {row.pk for row in found}
    problems = [
        Problem("", "unknown_delivery", "The webhook has no such delivery", f"/deliveries/{index}")
        for index, delivery_id in enumerate(ids)
        if delivery_id not in known
    ]
    if problems:
        raise InvalidInput("Nothing was sent again.", problems)
    return found


def _take(endpoint_id: UUID, user: User) -> WebhookEndpoint:
    """Lock an endpoint that the user may change."""
    visible = WebhookEndpoint.objects.visible_to(user).filter(id=endpoint_id)
    endpoint: WebhookEndpoint | None = visible.select_for_update(of=("self",)).first()
    if endpoint is None:
        raise NotVisible("There is no such webhook.")
    require_role(user, endpoint.workspace_id, Role.ADMIN)
    return endpoint


def _rotate(signer: WebhookEndpoint | SigningSecret, overlap_seconds: int) -> None:
    if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
        message = f"From 0 to {MAX_OVERLAP_SECONDS} seconds"
        problem = Problem("", "out_of_range", message, "/overlap_seconds")
        raise InvalidInput("The secret stays as it is.", [problem])
    signer.old_secret, signer.secret = signer.secret, new_secret()
    signer.old_secret_until = database_now() + timedelta(seconds=overlap_seconds)


def _give_up_pending(endpoint_id: UUID) -> None:
    waiting = WebhookDelivery.objects.filter(endpoint_id=endpoint_id, status="pending")
    waiting.update(status="failed", due_at=None, error="The endpoint was disabled")


def _check(*, url: str | None = None, event_types: Sequence[str] = ()) -> None:
    problems = [] if url is None else find_wrong_address(url, "/url")
    problems += [
        Problem("", "invalid_choice", f"There are no events “{name}”", f"/event_types/{index}")
        for index, name in enumerate(event_types)
        if name not in frozenset(EventType)
    ]
    if problems:
        raise InvalidInput("The webhook cannot be kept like this.", problems)
