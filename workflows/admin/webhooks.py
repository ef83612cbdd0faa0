"""Webhooks for admins of a workspace: addresses, edited through the service, and each call."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from workflows.admin.display import json_block, link_to
from workflows.admin.filters import BoundedPaginator, EventTypeFilter, WorkspaceFilter
from workflows.admin.scope import ScopedAdmin, roles_of, signed_in
from workflows.admin.service_forms import ServiceAdmin, ServiceForm
from workflows.errors import MgxError
from workflows.events import EventType
from workflows.models import Role, WebhookDelivery, WebhookEndpoint
from workflows.services import webhooks


class ForAdmins(ScopedAdmin):
    """Rows that only admins of their workspace see."""

    superuser_edits = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if signed_in(request).is_superuser:
            return rows
        own = [key for key, role in roles_of(request).items() if role is Role.ADMIN]
        return rows.filter(workspace_id__in=own)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return signed_in(request).is_superuser or self.may(request, Role.ADMIN, obj)

    def has_administer_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the person is an admin: what actions with this permission ask."""
        return self.may(request, Role.ADMIN, obj)


class WebhookForm(ServiceForm):
    """A webhook."""

    url = forms.CharField(
        label="Address",
        max_length=webhooks.MAX_URL,
        widget=forms.URLInput(attrs={"class": "vURLField"}),
    )
    event_types = forms.MultipleChoiceField(
        choices=[(kind.value, kind.value) for kind in EventType],
        required=False,
        widget=forms.SelectMultiple(attrs={"size": 10}),
        help_text="What it is called about. None chosen: everything.",
    )

    class Meta:
        model = WebhookEndpoint
        fields = ["workspace", "url", "description", "event_types", "is_active"]

    def call_service(self) -> WebhookEndpoint:
        given = {name: self.cleaned_data[name] for name in ("url", "description", "event_types")}
        if self.instance._state.adding:
            workspace = self.cleaned_data["workspace"]
            return webhooks.create_endpoint(workspace, user=self.user, **given)
        given["is_active"] = self.cleaned_data["is_active"]
        changes = {name: value for name, value in given.items() if name in self.changed_data}
        return webhooks.change_endpoint(self.instance.pk, user=self.user, **changes)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ForAdmins, ServiceAdmin):
    """Addresses that are called. A secret is shown by the answer that makes it, and never again."""

    edited_from = Role.ADMIN
    form = WebhookForm
    list_display = ("__str__", "workspace", "is_active", "failing_since", "created_at")
    list_filter = (WorkspaceFilter, "is_active")
    list_select_related = ("workspace",)
    search_fields = ("description",)
    ordering = ("-id",)
    paginator = BoundedPaginator
    actions = ("send_test", "rotate_secret")
    readonly_fields = ("failing_since", "disabled_reason", "old_secret_until", "created_by")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        own = ("url", "description", "event_types")
        if obj is None:
            return ("workspace", *own)
        state = ("disabled_reason", ("failing_since", "old_secret_until"), "created_by")
        return ("workspace", *own, "is_active", *state)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.readonly_fields, "workspace") if obj else self.readonly_fields

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show_secret(request, obj)

    def delete_model(self, request: HttpRequest, obj: WebhookEndpoint) -> None:
        webhooks.delete_endpoint(obj.pk, user=signed_in(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for endpoint in queryset:
            webhooks.delete_endpoint(endpoint.pk, user=signed_in(request))

    @admin.action(description="Send a test", permissions=["administer"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        for endpoint in queryset:
            try:
                webhooks.send_test(endpoint.pk, user=signed_in(request))
            except MgxError as error:
                self.tell_refusal(request, error, str(endpoint))
            else:
                self.message_user(request, f"{endpoint}: a test is on its way.", messages.SUCCESS)

    @admin.action(description="Give a new secret", permissions=["administer"])
    def rotate_secret(
        self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]
    ) -> HttpResponse | None:
        if queryset.count() != 1:
            self.message_user(request, "Choose one webhook.", messages.ERROR)
            return None
        try:
            rotated = webhooks.rotate_secret(queryset[0].pk, user=signed_in(request))
        except MgxError as error:
            self.tell_refusal(request, error)
            return None
        return self._show_secret(request, rotated)

    def _show_secret(self, request: HttpRequest, endpoint: WebhookEndpoint) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "The webhook’s secret",
            "endpoint": endpoint,
        }
        answer = TemplateResponse(request, "admin/workflows/webhookendpoint/secret.html", context)
        answer.headers["Cache-Control"] = "no-store"
        return answer


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ForAdmins):
    """Each message and what became of it, newest first."""

    list_display = (
        "__str__",
        "workspace",
        "status",
        "attempts",
        "due_at",
        "response_status",
        "of_endpoint",
        "created_at",
    )
    list_filter = (WorkspaceFilter, "status", EventTypeFilter)
    list_select_related = ("workspace", "endpoint")
    ordering = ("-id",)
    paginator = BoundedPaginator
    actions = ("replay_selected",)
    fields = (
        ("event_type", "event_seq"),
        ("workspace", "of_endpoint"),
        ("status", "attempts"),
        ("created_at", "due_at", "delivered_at"),
        ("response_status", "error"),
        "response_excerpt",
        "also_said",
        "id",
    )

    @admin.display(description="Webhook")
    def of_endpoint(self, delivery: WebhookDelivery) -> SafeString | str:
        return link_to(delivery.endpoint) if delivery.endpoint else "A request’s own address"

    @admin.display(description="Besides the event")
    def also_said(self, delivery: WebhookDelivery) -> SafeString | str:
        return json_block(delivery.details)

    @admin.action(description="Send again", permissions=["administer"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        try:
            again = webhooks.replay_deliveries(queryset, user=signed_in(request))
        except MgxError as error:
            self.tell_refusal(request, error)
        else:
            self.message_user(request, f"{len(again)} are on their way again.", messages.SUCCESS)
