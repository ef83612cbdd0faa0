"""How agents stand now: what each is doing, and how many of its places are taken."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.db.models import Case, F, Value, When

from agents.models import AgentInstance
from agents.standing import with_standing
from workflows.pages import Reader

#: What an agent can be doing, in the order of the filter.
STANDINGS: Final = ("busy", "active", "idle", "initializing", "error", "offline", "disabled")
#: Of these somebody should know.
NEED_ATTENTION: Final = ("error", "offline")


def standing_agents(reader: Reader, now: datetime) -> Any:
    """Return the agents of the reader's workspace with their `load` and `standing` at `now`.

    What is disabled takes no step, and is told as such.
    """
    standing = Case(
        When(is_enabled=False, then=Value("disabled")),
        When(definition__is_enabled=False, then=Value("disabled")),
        default=F("shown_status"),
    )
    visible: Any = AgentInstance.objects.visible_to(reader.user)
    agents = with_standing(visible.filter(workspace=reader.workspace), now)
    return agents.annotate(standing=standing).select_related("definition", "project")
