"""Which agents a person sees, and which ones may take a step."""

from datetime import datetime
from typing import Self

from django.db.models import Count, Q

from workflows.querysets import InWorkspaceQuerySet


class AgentInstanceQuerySet(InWorkspaceQuerySet):
    def usable(self) -> Self:
        """Enabled instances of enabled definitions that have not failed or gone."""
        return self.filter(is_enabled=True, definition__is_enabled=True).exclude(
            status__in=["error", "offline"]
        )

    def with_load(self, now: datetime) -> Self:
        """Add ``load``: the places that are taken at ``now``."""
        return self.annotate(
            load=Count(
                "reservations",
                filter=Q(reservations__released_at__isnull=True, reservations__expires_at__gt=now),
            )
        )
