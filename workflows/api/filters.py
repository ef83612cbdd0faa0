"""What every list can be narrowed by: the workspace, the project, and words."""

from datetime import datetime
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters  # type: ignore[import-untyped]
from django_filters.fields import IsoDateTimeField  # type: ignore[import-untyped]

from workflows.api.base import as_uuid
from workflows.clock import in_utc

__all__ = ["Choices", "InProjectFilter", "InWorkspaceFilter", "MomentFilter", "filters"]


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


class _MomentField(IsoDateTimeField):  # type: ignore[misc]
    def to_python(self, value: Any) -> datetime | None:
        moment = super().to_python(value)
        try:
            return in_utc(moment) if moment else None
        except ValueError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None


class MomentFilter(filters.IsoDateTimeFilter):  # type: ignore[misc]
    """A moment, refused where there is no such in UTC."""

    field_class = _MomentField


class Choices(filters.BaseInFilter, filters.ChoiceFilter):  # type: ignore[misc]
    """One of several words, or some of them with commas between."""
