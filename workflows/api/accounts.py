"""Who calls: the caller's own account and tokens."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.base import ApiView, caller, get_visible
from workflows.api.fields import StrictSerializer, TextField, read_input
from workflows.errors import NotPermitted
from workflows.models import ApiToken, Membership, User
from workflows.services.access import SCOPES, issue_token, revoke_token


class OwnMembershipSerializer(serializers.ModelSerializer[Membership]):
    """A workspace of the caller, with the caller's role in it."""

    workspace = serializers.CharField(source="workspace.slug")
    name = serializers.CharField(source="workspace.name")

    class Meta:
        model = Membership
        fields = ["workspace", "name", "role"]


class AccountSerializer(serializers.ModelSerializer[User]):
    """The caller. ``scopes``: what the token of this call may do; null for a session."""

    workspaces = serializers.SerializerMethodField()
    scopes = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ["username", "first_name", "last_name", "email", "workspaces", "scopes"]

    @extend_schema_field(OwnMembershipSerializer(many=True))
    def get_workspaces(self, user: User) -> Any:
        mine = user.memberships.select_related("workspace").order_by("workspace__slug")
        return OwnMembershipSerializer(mine, many=True).data

    def get_scopes(self, user: User) -> list[str] | None:
        token = self.context["request"].auth
        return list(token.scopes) if isinstance(token, ApiToken) else None


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token, without its secret."""

    scopes = serializers.ListField(child=serializers.ChoiceField(SCOPES))

    class Meta:
        model = ApiToken
        fields = [
            "id",
            "name",
            "prefix",
            "scopes",
            "created_at",
            "last_used_at",
            "expires_at",
            "revoked_at",
        ]


class NewTokenSerializer(TokenSerializer):
    """A token that has just been made: the only time its secret is shown."""

    token = serializers.CharField()

    class Meta(TokenSerializer.Meta):
        fields = ["token", *TokenSerializer.Meta.fields]


class TokenRequest(StrictSerializer):
    """A token to be made."""

    name = TextField(max_length=100)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(SCOPES), min_length=1, max_length=len(SCOPES)
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class Me(ApiView):
    serializer_class = AccountSerializer

    @extend_schema(operation_id="me")
    def get(self, request: Request) -> Response:
        """Who calls, with which role in which workspaces."""
        return Response(self.get_serializer(caller(request)).data)


class Tokens(ApiView):
    serializer_class = TokenSerializer
    queryset = ApiToken.objects.all()
    orderings = {"-created_at": "created_at", "name": "name"}

    def get(self, request: Request) -> Response:
        """The caller's own tokens."""
        return self.answer_page(ApiToken.objects.filter(user=caller(request)))

    @extend_schema(request=TokenRequest, responses={201: NewTokenSerializer})
    def post(self, request: Request) -> Response:
        """Make a token; its secret is in this answer and nowhere else.

        For that reason this call takes no Idempotency-Key: kept answers would keep the secret.
        """
        wanted = read_input(TokenRequest, request.data)
        _refuse_more_than_own(request, wanted["scopes"])
        token, secret = issue_token(caller(request), **wanted)
        shown = {"token": secret, **TokenSerializer(token).data}
        return Response(shown, status=status.HTTP_201_CREATED)


class Token(ApiView):
    serializer_class = TokenSerializer
    queryset = ApiToken.objects.all()

    def get(self, request: Request, id: Any) -> Response:
        """One of the caller's own tokens."""
        token = get_visible(ApiToken.objects.filter(user=caller(request)), pk=id)
        return Response(self.get_serializer(token).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, id: Any) -> Response:
        """Revoke a token: it ends at once."""
        revoke_token(get_visible(ApiToken.objects.filter(user=caller(request)), pk=id))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _refuse_more_than_own(request: Request, scopes: list[str]) -> None:
    if isinstance(request.auth, ApiToken) and not set(scopes) <= set(request.auth.scopes):
        raise NotPermitted(
            "A token cannot make one that may more than itself.", code="insufficient_scope"
        )
