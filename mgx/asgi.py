"""What a web server runs: ``uvicorn mgx.asgi:application``."""

import os
from typing import cast

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mgx.settings")
http = get_asgi_application()

from mgx.loaded import load_and_keep  # noqa: E402
from mgx.middleware import Application, BodyLimit, LongPoll, RequestThreads  # noqa: E402
from workflows.live.routing import websocket_urlpatterns  # noqa: E402  (needs the apps)

application = ProtocolTypeRouter(
    {
        "http": BodyLimit(LongPoll(RequestThreads(cast(Application, http)))),
        "websocket": URLRouter(websocket_urlpatterns),
    }
)
load_and_keep()
