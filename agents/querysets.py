"""Which agents a person sees, and which ones may take a step."""

from typing import Self

from workflows.querysets import InWorkspaceQuerySet


class AgentInstanceQuerySet(InWorkspaceQuerySet):
    def usable(self) -> Self:
        """Enabled instances of enabled definitions that have not failed or gone."""
        return self.filter(is_enabled=True, definition__is_enabled=True).exclude(
            status__in=["error", "offline"]
        )
