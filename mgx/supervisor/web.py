"""``python -m mgx.supervisor.web FD``: the web server on a socket that already listens."""

import http.client
import logging
import os
import resource
import socket
import sys
import threading
import time

import uvicorn

from mgx.supervisor.lifeline import beat, end_with_supervisor

logger = logging.getLogger("mgx.supervisor")

_BEAT_SECONDS = 2.0
_PATIENCE_SECONDS = 5.0
_MOST_FILES = 65_536
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared, not bound)


def main() -> None:
    """Serve until SIGTERM."""
    end_with_supervisor()
    _allow_many_sockets()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mgx.settings")
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(
        "mgx.asgi:application",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        # 30 KB a socket instead of several hundred; frames are small.
        ws_per_message_deflate=False,
        ws_max_size=65_536,
        timeout_graceful_shutdown=5,
    )
    threading.Thread(target=_beat_while_serving, args=(listener,), daemon=True).start()
    uvicorn.Server(config).run(sockets=[listener])


def _allow_many_sockets() -> None:
    """Raise the limit of open files, by default 1,024, as far as this user may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _beat_while_serving(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    while True:
        if _is_alive(_ANY_ADDRESS.get(host, host), port):
            beat()
        time.sleep(_BEAT_SECONDS)


def _is_alive(host: str, port: int) -> bool:
    """Ask this very server for ``/livez``, the way everybody else asks it."""
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException) as error:
        logger.warning("The web server does not answer: %s", error)
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
