"""What the caller wants to be told, and how."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from approvals.models import Channel, NotificationKind
from approvals.notifications.preferences import choices_of, choose
from workflows.api.base import ApiView, caller
from workflows.api.fields import FlagField, StrictSerializer, read_input


class ChannelsSerializer(serializers.Serializer[Any]):
    """Whether somebody is told by mail, and by their browser."""

    email = serializers.BooleanField()
    browser = serializers.BooleanField()


class NotificationsSerializer(serializers.Serializer[Any]):
    """What somebody is told of, and how."""

    def get_fields(self) -> dict[str, Any]:
        return {kind.value: ChannelsSerializer() for kind in NotificationKind}


class ChannelsPatch(StrictSerializer):
    """The ways that are to be changed."""

    email = FlagField(required=False)
    browser = FlagField(required=False)


class NotificationsPatch(StrictSerializer):
    """The kinds that are to be changed."""

    def get_fields(self) -> dict[str, Any]:
        return {kind.value: ChannelsPatch(required=False) for kind in NotificationKind}


class Notifications(ApiView):
    serializer_class = NotificationsSerializer

    @extend_schema(operation_id="me_notifications")
    def get(self, request: Request) -> Response:
        """What the caller is told of, by mail and by the browser."""
        return Response(_shown(request))

    @extend_schema(request=NotificationsPatch, operation_id="me_notifications_change")
    def patch(self, request: Request) -> Response:
        """Change what is given."""
        given = read_input(NotificationsPatch, request.data)
        choose(
            caller(request),
            {
                NotificationKind(kind): {Channel(name): is_on for name, is_on in ways.items()}
                for kind, ways in given.items()
            },
        )
        return Response(_shown(request))


def _shown(request: Request) -> dict[str, dict[str, bool]]:
    return {
        kind.value: {channel.value: is_on for channel, is_on in channels.items()}
        for kind, channels in choices_of(caller(request)).items()
    }
