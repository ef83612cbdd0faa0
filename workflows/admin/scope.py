"""Whose rows a person of staff sees and edits: those of the workspaces they are a member of.

A superuser sees every row. The verbs (start, cancel, decide, publish) and drafts are for members
alone, superusers or not: the services behind every door ask for the role, and record a name.
"""

from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID
from weakref import WeakKeyDictionary

from django.contrib import admin, messages
from django.db.models import ForeignKey, QuerySet
from django.http import Http404, HttpRequest

from workflows.errors import InvalidInput, MgxError
from workflows.models import Membership, Project, Role, User, Workspace

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

_roles: WeakKeyDictionary[HttpRequest, dict[UUID, Role]] = WeakKeyDictionary()


def signed_in(request: HttpRequest) -> User:
    """Return the person behind a request that the admin has let in."""
    assert isinstance(request.user, User)
    return request.user


def is_signed_in(request: HttpRequest) -> bool:
    """Tell whether there is a person at all: the sign-in page asks for permissions too."""
    return isinstance(request.user, User)


def roles_of(request: HttpRequest) -> dict[UUID, Role]:
    """Return the person's role in each of their workspaces, read once a request."""
    if request not in _roles:
        user = signed_in(request)
        found = Membership.objects.filter(user_id=user.pk, user__is_active=True)
        _roles[request] = {
            workspace_id: Role(role)
            for workspace_id, role in found.values_list("workspace_id", "role")
        }
    return _roles[request]


def has_role(request: HttpRequest, lowest: Role, workspace_id: UUID | None = None) -> bool:
    """Tell whether the person has a role, or one above it, in a workspace or in any."""
    roles = roles_of(request)
    held = roles.values() if workspace_id is None else [roles.get(workspace_id)]
    return any(role is not None and role.rank >= lowest.rank for role in held)


def say_refusal(error: MgxError) -> str:
    """Return a refusal in one sentence for people, with what is wrong where."""
    if isinstance(error, InvalidInput) and error.problems:
        return " ".join([error.message, *(f"{found.message}." for found in error.problems)])
    return error.message


class ScopedAdmin(ModelAdmin):
    """Rows that belong to a workspace.

    ``workspace_lookup`` leads from a row to its workspace's id; it is empty where all workspaces
    share the rows. ``edited_from`` is the role from which on a member may add, change and delete
    rows, None where only MGX itself writes them. ``large`` names columns that may hold a megabyte:
    a list leaves them out, a page reads those that it shows.
    """

    workspace_lookup: ClassVar[str] = "workspace_id"
    edited_from: ClassVar[Role | None] = None
    superuser_edits: ClassVar[bool] = True
    large: ClassVar[tuple[str, ...]] = ()
    # Neither the numbers of all rows nor of those behind each filter: both read whole tables.
    show_full_result_count: ClassVar[bool] = False
    show_facets = admin.ShowFacets.NEVER

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).defer(*self.large)
        if signed_in(request).is_superuser or not self.workspace_lookup:
            return rows
        return rows.filter(**{f"{self.workspace_lookup}__in": list(roles_of(request))})

    def workspace_id_of(self, row: Any) -> UUID | None:
        """Return the id of the workspace that a row belongs to, None where all share it."""
        if row is None or not self.workspace_lookup:
            return None
        workspace_id: UUID = attrgetter(self.workspace_lookup.replace("__", "."))(row)
        return workspace_id

    def find(self, request: HttpRequest, object_id: UUID) -> Any:
        """Return a row that the person sees, for a page of its own.

        Raises:
            Http404: there is none, or it is in a foreign workspace.
        """
        row = self.get_object(request, str(object_id))
        if row is None:
            raise Http404
        return row

    def may(self, request: HttpRequest, lowest: Role, row: Any = None) -> bool:
        """Tell whether the person has a role in the workspace of ``row``, or in any."""
        return has_role(request, lowest, self.workspace_id_of(row))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_signed_in(request) and self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return signed_in(request).is_superuser or self.may(request, Role.VIEWER, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._edits(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._edits(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._edits(request, obj)

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the person may start and cancel: what actions with this permission ask."""
        return self.may(request, Role.OPERATOR, obj)

    def _edits(self, request: HttpRequest, row: Any = None) -> bool:
        if self.edited_from is None:
            return False
        is_almighty = self.superuser_edits and signed_in(request).is_superuser
        return is_almighty or self.may(request, self.edited_from, row)

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> Any:
        if db_field.related_model is Workspace:
            kwargs["queryset"] = self._editable_workspaces(request)
        elif db_field.related_model is Project:
            projects = Project.objects.select_related("workspace")
            kwargs["queryset"] = projects.filter(workspace__in=self._editable_workspaces(request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def _editable_workspaces(self, request: HttpRequest) -> QuerySet[Workspace]:
        workspaces: QuerySet[Workspace] = Workspace.objects.all()
        if self.edited_from is None or (self.superuser_edits and signed_in(request).is_superuser):
            return workspaces
        lowest = self.edited_from
        return workspaces.filter(
            id__in=[key for key, role in roles_of(request).items() if role.rank >= lowest.rank]
        )

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        row = context.get("original")
        workspace_id = self.workspace_id_of(row)
        context["is_stranger"] = workspace_id is not None and workspace_id not in roles_of(request)
        context["can_operate"] = row is not None and self.has_operate_permission(request, row)
        return super().render_change_form(request, context, *args, **kwargs)

    def tell_refusal(self, request: HttpRequest, error: MgxError, about: str = "") -> None:
        """Show the person why a verb was refused."""
        text = say_refusal(error)
        self.message_user(request, f"{about}: {text}" if about else text, messages.ERROR)
