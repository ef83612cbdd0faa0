"""Webhooks: addresses that are called with a workspace's events, and each call. For admins."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import ApiView, caller, find_workspace, get_visible
from workflows.api.fields import FlagField, StrictSerializer, TextField, WholeField, read_input
from workflows.api.filters import InWorkspaceFilter, filters
from workflows.errors import NotVisible
from workflows.models import Membership, Role, SigningSecret, WebhookDelivery, WebhookEndpoint
from workflows.services import webhooks
from workflows.services.access import require_role


class WebhookSerializer(serializers.ModelSerializer[WebhookEndpoint]):
    """An address that is called; without ``event_types`` about everything.

    ``failing_since``: no call has arrived since. ``disabled_reason``: why it is not called.
    """

    workspace = serializers.CharField(source="workspace.slug")
    event_types = serializers.ListField(child=serializers.CharField())
    created_by = serializers.CharField(source="created_by.username", allow_null=True, default=None)

    class Meta:
        model = WebhookEndpoint
        fields = [
            "id",
            "workspace",
            "workspace_id",
            "url",
            "description",
            "event_types",
            "is_active",
            "failing_since",
            "disabled_reason",
            "old_secret_until",
            "created_by",
            "created_at",
        ]


class NewWebhookSerializer(WebhookSerializer):
    """A webhook with its new secret, which is shown this once."""

    secret = serializers.CharField()

    class Meta(WebhookSerializer.Meta):
        fields = ["secret", *WebhookSerializer.Meta.fields]


class DeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    """A message on its way. ``due_at``: when it is tried next; ``response_excerpt``: how the last
    answer begins."""

    class Meta:
        model = WebhookDelivery
        fields = [
            "id",
            "event_seq",
            "event_type",
            "status",
            "attempts",
            "due_at",
            "response_status",
            "response_excerpt",
            "error",
            "replay_of",
            "created_at",
            "delivered_at",
        ]


class SigningSecretSerializer(serializers.ModelSerializer[SigningSecret]):
    """What signs the calls to ``callback_url``: since when there is one, without the secret."""

    class Meta:
        model = SigningSecret
        fields = ["created_at", "old_secret_until"]


class NewSigningSecretSerializer(SigningSecretSerializer):
    """A new secret, which is shown this once."""

    class Meta(SigningSecretSerializer.Meta):
        fields = ["secret", *SigningSecretSerializer.Meta.fields]


class WebhookPatch(StrictSerializer):
    """What of a webhook is to be changed."""

    url = TextField(required=False, max_length=webhooks.MAX_URL)
    description = TextField(required=False, max_length=500, allow_blank=True)
    event_types = serializers.ListField(
        child=TextField(max_length=50), required=False, max_length=100
    )
    is_active = FlagField(required=False)


class WebhookRequest(StrictSerializer):
    """A new webhook. ``event_types``: what it is called about; none: everything."""

    workspace = TextField(required=False, max_length=100)
    url = TextField(max_length=webhooks.MAX_URL)
    description = TextField(required=False, max_length=500, allow_blank=True)
    event_types = serializers.ListField(
        child=TextField(max_length=50), required=False, max_length=100
    )


class RotationRequest(StrictSerializer):
    """``overlap_seconds``: for how long the secret before signs too, a day by default."""

    overlap_seconds = WholeField(
        required=False, min_value=0, max_value=webhooks.MAX_OVERLAP_SECONDS
    )


class ReplayRequest(StrictSerializer):
    """Which deliveries to make again; without any, all that failed."""

    deliveries = serializers.ListField(
        child=serializers.UUIDField(), required=False, max_length=webhooks.MAX_REPLAYS
    )


class ReplaySerializer(serializers.Serializer[Any]):
    """The deliveries that are made again."""

    results = DeliverySerializer(many=True)


class WebhookFilter(InWorkspaceFilter):
    """``q``: in descriptions."""

    search_fields = ("description",)

    is_active = filters.BooleanFilter()


class DeliveryFilter(filters.FilterSet):  # type: ignore[misc]
    """``status``, ``event_type``."""

    status = filters.ChoiceFilter(choices=WebhookDelivery.STATUSES)
    event_type = filters.CharFilter(max_length=50)


class Webhooks(ApiView):
    serializer_class = WebhookSerializer
    queryset = WebhookEndpoint.objects.all()
    filterset_class = WebhookFilter
    orderings = {"-created_at": "created_at"}

    def get(self, request: Request) -> Response:
        """The webhooks of the workspaces that the caller is an admin of."""
        own = Membership.objects.filter(user=caller(request), role=Role.ADMIN)
        return self.answer_page(_visible(request).filter(workspace__in=own.values("workspace")))

    @extend_schema(request=WebhookRequest, responses={201: NewWebhookSerializer})
    def post(self, request: Request) -> Response:
        """Have an address called with what happens from now on. Its secret is in this answer
        and nowhere else, so this call takes no Idempotency-Key."""
        given = read_input(WebhookRequest, request.data)
        workspace = find_workspace(caller(request), given.pop("workspace", None))
        made = webhooks.create_endpoint(workspace, user=caller(request), **given)
        location = request.build_absolute_uri(f"/api/v1/webhooks/{made.pk}/")
        return Response(
            NewWebhookSerializer(made).data,
            status=status.HTTP_201_CREATED,
            headers={"Location": location},
        )


class OneWebhook(ApiView):
    serializer_class = WebhookSerializer
    queryset = WebhookEndpoint.objects.all()

    @extend_schema(operation_id="webhooks_retrieve")
    def get(self, request: Request, id: Any) -> Response:
        """One webhook."""
        return Response(self.get_serializer(_find(request, id)).data)

    @extend_schema(request=WebhookPatch, operation_id="webhooks_change")
    def patch(self, request: Request, id: Any) -> Response:
        """Change what is given. One that is switched on again hears what happens from then on."""
        given = read_input(WebhookPatch, request.data)
        webhooks.change_endpoint(id, user=caller(request), **given)
        return Response(self.get_serializer(_find(request, id)).data)

    @extend_schema(responses={204: None}, operation_id="webhooks_delete")
    def delete(self, request: Request, id: Any) -> Response:
        """Delete a webhook with the record of its calls."""
        webhooks.delete_endpoint(id, user=caller(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SecretRotation(ApiView):
    serializer_class = NewWebhookSerializer
    queryset = WebhookEndpoint.objects.all()

    @extend_schema(request=RotationRequest)
    def post(self, request: Request, id: Any) -> Response:
        """Give a webhook a new secret. The one before signs too, until the receiver has this."""
        given = read_input(RotationRequest, request.data or {})
        endpoint = webhooks.rotate_secret(id, user=caller(request), **given)
        return Response(self.get_serializer(endpoint).data)


class WebhookTest(ApiView):
    serializer_class = DeliverySerializer
    queryset = WebhookDelivery.objects.all()

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, id: Any) -> Response:
        """Call a webhook about nothing; its deliveries tell what came of it."""
        made = webhooks.send_test(id, user=caller(request))
        return Response(self.get_serializer(made).data, status=status.HTTP_202_ACCEPTED)


class Deliveries(ApiView):
    serializer_class = DeliverySerializer
    queryset = WebhookDelivery.objects.all()
    filterset_class = DeliveryFilter
    orderings = {"-created_at": "created_at"}

    def get(self, request: Request, id: Any) -> Response:
        """The calls of a webhook."""
        return self.answer_page(WebhookDelivery.objects.filter(endpoint=_find(request, id)))


class Replay(ApiView):
    serializer_class = ReplaySerializer
    queryset = WebhookDelivery.objects.all()

    @extend_schema(request=ReplayRequest, responses={202: ReplaySerializer})
    def post(self, request: Request, id: Any) -> Response:
        """Send messages again, under their own ids: those that are named, or all that failed."""
        given = read_input(ReplayRequest, request.data or {})
        again = webhooks.replay(id, user=caller(request), delivery_ids=given.get("deliveries"))
        shown = DeliverySerializer(again, many=True).data
        return Response({"results": shown}, status=status.HTTP_202_ACCEPTED)


class WorkspaceSecret(ApiView):
    serializer_class = SigningSecretSerializer
    queryset = SigningSecret.objects.all()

    @extend_schema(operation_id="signing_secret")
    def get(self, request: Request, slug: str) -> Response:
        """Whether, and since when, a workspace has a secret for calls to ``callback_url``."""
        workspace = find_workspace(caller(request), slug)
        require_role(caller(request), workspace.pk, Role.ADMIN)
        secret = get_visible(SigningSecret.objects.filter(workspace=workspace))
        return Response(self.get_serializer(secret).data)

    @extend_schema(
        operation_id="signing_secret_rotate",
        request=RotationRequest,
        responses=NewSigningSecretSerializer,
    )
    def post(self, request: Request, slug: str) -> Response:
        """Make the secret, or a new one. It is in this answer and nowhere else."""
        given = read_input(RotationRequest, request.data or {})
        workspace = find_workspace(caller(request), slug)
        secret = webhooks.rotate_signing_secret(workspace, user=caller(request), **given)
        return Response(NewSigningSecretSerializer(secret).data)


def _visible(request: Request) -> QuerySet[WebhookEndpoint]:
    found: QuerySet[WebhookEndpoint] = WebhookEndpoint.objects.visible_to(caller(request))
    return found.select_related("workspace", "created_by").defer("workspace__settings")


def _find(request: Request, id: Any) -> WebhookEndpoint:
    found = _visible(request).filter(pk=id).first()
    if found is None:
        raise NotVisible("There is nothing with this id for you.")
    require_role(caller(request), found.workspace_id, Role.ADMIN)
    return found
