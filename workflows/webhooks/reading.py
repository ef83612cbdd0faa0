"""Which endpoint is called about which event: a delivery for each, once."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from workflows.events import PROGRESS, EventType
from workflows.models import Event, WebhookDelivery, WebhookEndpoint


class EndpointReader:
    """A reader of the event stream (``settings.STREAM_READERS``)."""

    def wanted(self, workspace_id: UUID) -> Collection[str]:
        endpoints = WebhookEndpoint.objects.filter(workspace_id=workspace_id, is_active=True)
        lists = list(endpoints.values_list("event_types", flat=True))
        if any(not event_types for event_types in lists):
            return frozenset(EventType)
        return frozenset().union(*lists)

    def rows(
        self, workspace_id: UUID, events: Sequence[Event], now: datetime
    ) -> Sequence[WebhookDelivery]:
        endpoints = list(WebhookEndpoint.objects.filter(workspace_id=workspace_id, is_active=True))
        return [
            WebhookDelivery(
                workspace_id=workspace_id,
                endpoint=endpoint,
                event_seq=event.seq,
                event_type=event.event_type,
                created_at=now,
                due_at=now,
            )
            for event in events
            for endpoint in endpoints
            if event.seq > endpoint.after_seq and _is_told(endpoint, event)
        ]


def _is_told(endpoint: WebhookEndpoint, event: Event) -> bool:
    """Tell whether an endpoint wants to hear of an event: of progress only if it says so."""
    if not endpoint.event_types:
        return bool(event.data.get("activity") != PROGRESS)
    return event.event_type in endpoint.event_types
