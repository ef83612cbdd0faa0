"""The addresses of sockets."""

from django.urls import path, re_path

from workflows.live.consumer import EventConsumer, UnknownPath

websocket_urlpatterns = [
    path("ws/events/", EventConsumer.as_asgi()),
    re_path(r"", UnknownPath.as_asgi()),
]
