"""Users, and their API tokens."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from workflows.admin.scope import is_signed_in, signed_in
from workflows.models import ApiToken, Membership, User
from workflows.services.access import revoke_token

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    DjangoUserAdmin = UserAdmin[User]
else:
    ModelAdmin = admin.ModelAdmin
    TabularInline = admin.TabularInline
    DjangoUserAdmin = UserAdmin


class UserMembershipInline(TabularInline):
    model = Membership
    fields = ("workspace", "role")
    extra = 0


@admin.register(User)
class PersonAdmin(DjangoUserAdmin):
    """All people of all workspaces: for superusers, who alone can make others one."""

    inlines = (UserMembershipInline,)
    list_display = ("username", "email", "first_name", "last_name", "is_active", "is_staff")
    list_filter = ("is_active", "is_staff", "is_superuser")

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_signed_in(request) and signed_in(request).is_superuser

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return signed_in(request).is_superuser

    def has_add_permission(self, request: HttpRequest) -> bool:
        return signed_in(request).is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return signed_in(request).is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return signed_in(request).is_superuser


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    """Tokens: one's own, a superuser sees all. Neither secret nor digest is ever shown."""

    list_display = ("name", "prefix", "user", "scopes", "state", "last_used_at", "expires_at")
    list_filter = ("revoked_at",)
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__username")
    fields = (
        ("name", "prefix"),
        "user",
        "scopes",
        "state",
        ("created_at", "last_used_at"),
        ("expires_at", "revoked_at"),
    )
    actions = ("revoke_selected",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        tokens: QuerySet[Any] = super().get_queryset(request).annotate(read_at=Now())
        user = signed_in(request)
        return tokens if user.is_superuser else tokens.filter(user=user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_signed_in(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="State")
    def state(self, token: Any) -> str:
        if token.revoked_at:
            return "Revoked"
        is_over = token.expires_at is not None and token.expires_at <= token.read_at
        return "Expired" if is_over else "Valid"

    @admin.action(description="Revoke for good", permissions=["view"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for token in queryset:
            revoke_token(token)
            self.log_change(request, token, "Revoked.")
            self.message_user(request, f"“{token}” is revoked.", messages.SUCCESS)
