"""Deliveries on their way: which are made when, how often, and when an endpoint is given up."""

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Min

from workflows.events import event_document
from workflows.models import Event, SigningSecret, WebhookDelivery, WebhookEndpoint
from workflows.services.webhooks import disable_endpoint, signing_secret
from workflows.webhooks.calls import Answer, Call, post

#: Seconds before each further attempt: about a day in all, then the delivery has failed.
DELAYS: Final = (5, 30, 180, 900, 3_600, 4 * 3_600, 8 * 3_600, 12 * 3_600)
_JITTER: Final = 0.2
#: For how long an endpoint may fail before it is disabled.
PATIENCE: Final = timedelta(days=5)
#: Nobody else makes a call that was taken, until its process must have ended.
_CLAIM: Final = timedelta(seconds=60)
_AT_ONCE: Final = 8
#: Calls of one endpoint at once: one that is slow leaves room for the others.
_OF_ONE_ENDPOINT: Final = 4
_random = secrets.SystemRandom()


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery that this process has claimed; ``call`` is None where there is nothing to send,
    and ``why`` says so."""

    delivery_id: UUID
    endpoint_id: UUID | None
    attempt: int
    call: Call | None
    why: str = ""


class WebhookOutbox:
    """The deliveries that are due (``settings.OUTBOXES``)."""

    at_once = _AT_ONCE

    def next_due(self) -> datetime | None:
        found: datetime | None = WebhookDelivery.objects.aggregate(at=Min("due_at"))["at"]
        return found

    def claim(self, now: datetime, at_most: int, sending: Sequence[Taken]) -> Sequence[Taken]:
        chosen = _choose(now, at_most, sending)
        if not chosen:
            return []
        with transaction.atomic():
            due = WebhookDelivery.objects.filter(id__in=chosen, due_at__lte=now)
            rows = list(due.select_for_update(skip_locked=True))
            for row in rows:
                row.attempts += 1
                row.due_at = now + _CLAIM
            WebhookDelivery.objects.bulk_update(rows, ["attempts", "due_at"])
        return _with_calls(rows, now)

    def send(self, message: Taken) -> Answer:
        if message.call is None:
            return Answer(error=message.why, is_final=True)
        return post(message.call)

    def record(self, sent: Sequence[tuple[Taken, Answer]], now: datetime) -> None:
        for message, answer in sent:
            with transaction.atomic():
                _record(message, answer, now)


def _choose(now: datetime, at_most: int, sending: Sequence[Taken]) -> list[UUID]:
    """Return deliveries that are due, the oldest first, few of each endpoint."""
    taken = Counter(message.endpoint_id for message in sending if message.endpoint_id)
    full = [endpoint_id for endpoint_id, count in taken.items() if count >= _OF_ONE_ENDPOINT]
    due = WebhookDelivery.objects.filter(due_at__lte=now).exclude(endpoint_id__in=full)
    chosen: list[UUID] = []
    for delivery_id, endpoint_id in due.order_by("due_at").values_list("id", "endpoint_id")[:200]:
        if len(chosen) == at_most:
            break
        if endpoint_id is None or taken[endpoint_id] < _OF_ONE_ENDPOINT:
            taken[endpoint_id] += 1
            chosen.append(delivery_id)
    return chosen


def _with_calls(rows: Iterable[WebhookDelivery], now: datetime) -> list[Taken]:
    rows = list(rows)
    events = _events(rows)
    endpoints = WebhookEndpoint.objects.in_bulk({row.endpoint_id for row in rows})
    own = {
        workspace_id: signing_secret(workspace_id)
        for workspace_id in {row.workspace_id for row in rows if not row.endpoint_id}
    }
    found = []
    for row in rows:
        call, why = None, ""
        signer = endpoints.get(row.endpoint_id) if row.endpoint_id else own[row.workspace_id]
        event = events.get((row.workspace_id, row.event_seq))
        if signer is None:
            why = "The endpoint was deleted"
        elif isinstance(signer, WebhookEndpoint) and not signer.is_active and row.event_seq:
            why = "The endpoint is disabled"
        elif row.event_seq and event is None:
            why = "The event is not kept any more"
        else:
            url = signer.url if isinstance(signer, WebhookEndpoint) else row.url
            call = Call(
                str(event.uuid if event else row.pk), url, _body(row, event), _keys(signer, now)
            )
        found.append(Taken(row.pk, row.endpoint_id, row.attempts, call, why))
    return found


def _events(rows: Iterable[WebhookDelivery]) -> dict[tuple[UUID, int | None], Event]:
    by_workspace: dict[UUID, list[int]] = defaultdict(list)
    for row in rows:
        if row.event_seq:
            by_workspace[row.workspace_id].append(row.event_seq)
    return {
        (workspace_id, event.seq): event
        for workspace_id, numbers in by_workspace.items()
        for event in Event.objects.filter(workspace_id=workspace_id, seq__in=numbers)
    }


def _body(row: WebhookDelivery, event: Event | None) -> str:
    """Return what is posted: the same at every attempt."""
    data: dict[str, Any] = event_document(event) if event else {"id": str(row.pk)}
    moment = event.timestamp if event else row.created_at
    document = {
        "type": row.event_type,
        "timestamp": moment.isoformat().replace("+00:00", "Z"),
        "data": data | (row.details or {}),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _keys(signer: WebhookEndpoint | SigningSecret, now: datetime) -> tuple[str, ...]:
    until = signer.old_secret_until
    if signer.old_secret and until is not None and until > now:
        return (signer.secret, signer.old_secret)
    return (signer.secret,)


def _record(message: Taken, answer: Answer, now: datetime) -> None:
    # The endpoint comes before its deliveries, as for whoever switches it off.
    if message.endpoint_id:
        endpoint = WebhookEndpoint.objects.filter(id=message.endpoint_id)
        list(endpoint.select_for_update(no_key=True))
    own = WebhookDelivery.objects.filter(
        id=message.delivery_id, attempts=message.attempt, status="pending"
    )
    is_over = answer.is_final or answer.is_gone or message.attempt > len(DELAYS)
    status = "delivered" if answer.is_ok else "failed" if is_over else "pending"
    is_own = own.update(
        status=status,
        due_at=now + _delay(message.attempt) if status == "pending" else None,
        delivered_at=now if answer.is_ok else None,
        response_status=answer.status,
        response_excerpt=answer.excerpt,
        error=answer.error,
    )
    if is_own and message.endpoint_id and message.call:
        _judge(message.endpoint_id, answer, now)


def _judge(endpoint_id: UUID, answer: Answer, now: datetime) -> None:
    """Note that an endpoint works or fails; disable one that is gone, or has failed for days."""
    endpoint = WebhookEndpoint.objects.filter(id=endpoint_id, is_active=True)
    if answer.is_ok:
        endpoint.filter(failing_since__isnull=False).update(failing_since=None)
        return
    endpoint.filter(failing_since__isnull=True).update(failing_since=now)
    if answer.is_gone:
        disable_endpoint(endpoint_id, "It answered that it is gone (410).", now)
    elif endpoint.filter(failing_since__lt=now - PATIENCE).exists():
        disable_endpoint(endpoint_id, f"No call arrived for {PATIENCE.days} days.", now)


def _delay(attempt: int) -> timedelta:
    return timedelta(seconds=DELAYS[attempt - 1] * _random.uniform(1.0, 1.0 + _JITTER))
