"""Which agents a person sees, and which ones may take a step."""

from typing import Self

from workflows.querysets import InWorkspaceQuerySet


class AgentInstanceQuerySet(InWorkspaceQuerySet):
    def usable(self) -> Self:
        """Enabled instances of enabled definitions that have not gone, nor failed for good.

        One that failed at a step is tried again, so it counts; whoever is set to ``error`` by hand
        does not. One that is only not heard of counts too: it gets no step meanwhile, and why is
        told (``agents/services/heartbeats.py``).
        """
        enabled = self.filter(is_enabled=True, definition__is_enabled=True)
        there = enabled.exclude(status="offline", is_silent=False)
        return there.exclude(status="error", faults=0)
