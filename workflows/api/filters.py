"""What every list can be narrowed by: the workspace, the project, and words."""

from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters  # type: ignore[import-untyped]

from workflows.api.base import as_uuid

__all__ = ["Choices", "InProjectFilter", "InWorkspaceFilter", "filters"]


class InWorkspaceFilter(filters.FilterSet):  # type: ignore[misc]
    """``workspace``: its slug; ``q``: words in the columns ``search_fields``."""

    search_fields: ClassVar[tuple[str, ...]] = ()

    workspace = filters.CharFilter(field_name="workspace__slug", max_length=100)
    q = filters.CharFilter(method="search", max_length=200)

    def search(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        found = Q()
        for column in self.search_fields:
            found |= Q(**{f"{column}__icontains": value})
        return queryset.filter(found)


class InProjectFilter(InWorkspaceFilter):
    """``project``: its slug or its id."""

    project = filters.CharFilter(method="of_project", max_length=100)

    def of_project(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        identifier = as_uuid(value)
        if identifier:
            return queryset.filter(project_id=identifier)
        return queryset.filter(project__slug=value)


class Choices(filters.BaseInFilter, filters.ChoiceFilter):  # type: ignore[misc]
    """One of several words, or some of them with commas between."""
