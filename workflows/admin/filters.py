"""Filters and pages for lists that may be long: neither looks at every row."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from workflows.admin.scope import roles_of, signed_in
from workflows.core.steps import STEP_TYPES
from workflows.events import EventType
from workflows.models import Workspace

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator


class WorkspaceFilter(admin.SimpleListFilter):
    """The workspaces that the person sees."""

    title = "workspace"
    parameter_name = "workspace"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        workspaces = Workspace.objects.all()
        if not signed_in(request).is_superuser:
            workspaces = workspaces.filter(id__in=list(roles_of(request)))
        self._lookup = model_admin.workspace_lookup
        return [(each.slug, each.name) for each in workspaces[:200]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        ids = Workspace.objects.filter(slug=self.value()).values("id")
        return queryset.filter(**{f"{self._lookup}__in": ids})


class KnownValuesFilter(admin.SimpleListFilter):
    """The values that a column can have, without asking the table which of them it has."""

    values: ClassVar[tuple[str, ...]] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value.replace("_", " ")) for value in self.values]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(**{str(self.parameter_name): self.value()})


class EventTypeFilter(KnownValuesFilter):
    title = "type"
    parameter_name = "event_type"
    values = tuple(EventType)


class StepTypeFilter(KnownValuesFilter):
    title = "type"
    parameter_name = "step_type"
    values = STEP_TYPES


class BoundedPaginator(AnyPaginator):
    """Pages of the first rows only: counting millions would take longer than showing some.

    Filters lead to the rest.
    """

    MAX_ROWS = 10_000

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows[: self.MAX_ROWS].count())
