"""Workspaces, projects, memberships."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from workflows.admin.fields import StrictJSONField, UsernameField
from workflows.admin.filters import WorkspaceFilter
from workflows.admin.scope import ScopedAdmin, has_role, signed_in
from workflows.models import Membership, Project, QueueLimit, Role, Workspace
from workflows.policies import check_settings
from workflows.services.access import create_workspace

if TYPE_CHECKING:
    TabularInline = admin.TabularInline[Any, Any]
    ModelForm = forms.ModelForm[Any]
else:
    TabularInline = admin.TabularInline
    ModelForm = forms.ModelForm


class MembershipForm(ModelForm):
    """A person by username, and their role."""

    user = UsernameField(label="Username")

    class Meta:
        model = Membership
        fields = ["workspace", "user", "role"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.initial["user"] = self.instance.user.get_username()


class AdminsInline(TabularInline):
    """Rows of a workspace, edited by its admins."""

    extra = 0

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj)

    def _may(self, request: HttpRequest, workspace: Any) -> bool:
        workspace_id = workspace.pk if workspace else None
        return signed_in(request).is_superuser or has_role(request, Role.ADMIN, workspace_id)


class MembershipInline(AdminsInline):
    """The members of a workspace."""

    model = Membership
    form = MembershipForm
    fields = ("user", "role")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user").order_by("user__username")


class QueueLimitInline(AdminsInline):
    """How many steps run at once: of a queue, or of the whole workspace."""

    model = QueueLimit
    fields = ("queue", "max_running")
    verbose_name_plural = "Limits of what runs at once (no queue: all steps)"


class WorkspaceForm(ModelForm):
    settings = StrictJSONField(
        help_text="True or false: <code>forbid_auto_approval</code>, a gate that names approvers"
        " may not approve itself; <code>prevent_self_approval</code>, who started a run cannot"
        " decide on it; <code>forbid_standing_grants</code>, nothing is approved ahead."
        " A number: <code>retention_days</code>, for how long ended runs are kept;"
        " <code>max_agent_steps</code>, how many steps its agents have at once;"
        " <code>monthly_agent_tokens</code> and <code>monthly_agent_cost</code>, what they may"
        " spend in a month before people are asked for more."
    )

    class Meta:
        model = Workspace
        fields = ["name", "slug", "settings"]

    def clean_settings(self) -> dict[str, Any]:
        """Refuse keys that mean nothing, and values that are none of theirs."""
        given: dict[str, Any] = self.cleaned_data["settings"]
        if problems := check_settings(given):
            raise forms.ValidationError([f"{problem.message}." for problem in problems])
        return given


@admin.register(Workspace)
class WorkspaceAdmin(ScopedAdmin):
    """Tenants. Superusers make them and become their first member; none is deleted here."""

    workspace_lookup = "id"
    edited_from = Role.ADMIN
    form = WorkspaceForm
    inlines = (MembershipInline, QueueLimitInline)
    list_display = ("name", "slug", "created_at")
    search_fields = ("name", "slug")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return signed_in(request).is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["name", "slug", "settings"] if obj else ["name", "slug"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["slug"] if obj else []

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        made = create_workspace(name=obj.name, slug=obj.slug, admin=signed_in(request))
        obj.pk, obj.created_at = made.pk, made.created_at
        obj._state.adding = False


@admin.register(Project)
class ProjectAdmin(ScopedAdmin):
    """Subdivisions of a workspace."""

    edited_from = Role.ADMIN
    list_display = ("name", "workspace", "slug", "created_at")
    list_filter = (WorkspaceFilter,)
    list_select_related = ("workspace",)
    search_fields = ("name", "slug")
    fields = ("workspace", "name", "slug")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["workspace"] if obj else []


@admin.register(Membership)
class MembershipAdmin(ScopedAdmin):
    """Who has which role where."""

    edited_from = Role.ADMIN
    form = MembershipForm
    list_display = ("user", "workspace", "role", "created_at")
    list_filter = (WorkspaceFilter, "role")
    list_select_related = ("user", "workspace")
    search_fields = ("user__username", "user__email")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["workspace", "user"] if obj else []
