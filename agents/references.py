"""The names of agents in a definition: a definition's id or slug, or an instance's."""

from collections.abc import Collection
from uuid import UUID

from django.db.models import Q

from agents.models import AgentDefinition, AgentInstance
from workflows.models import Workspace


def check_agents(names: Collection[str], *, workspace: Workspace) -> set[str]:
    """Return those of ``names`` that stand for no agent which ``workspace`` has."""
    usable = AgentInstance.objects.usable().filter(workspace=workspace)
    definitions = AgentDefinition.objects.filter(instances__in=usable)
    known: set[str] = set()
    for queryset in (usable, definitions):
        for agent_id, slug in queryset.filter(named(names)).values_list("id", "slug"):
            known |= {str(agent_id), slug}
    return set(names) - known


def named(names: Collection[str], prefix: str = "") -> Q:
    """Return the condition on an agent, or on what ``prefix`` leads to, that one of ``names`` is
    its slug or its id."""
    return Q(**{f"{prefix}slug__in": names}) | Q(**{f"{prefix}id__in": ids_in(names)})


def ids_in(names: Collection[str]) -> list[UUID]:
    """Return those of ``names`` that are ids."""
    return [UUID(name) for name in names if _is_uuid(name)]


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
