"""``python -m mgx.supervisor``: what ``manage.py up`` turns into once its checks have passed."""

import argparse
import logging
import os
import socket
import sys

from mgx.supervisor.child import Child
from mgx.supervisor.keeper import Supervisor
from workflows.logs import JsonFormatter, TextFormatter

#: Seconds without a sign of life after which a child is replaced.
_SILENCE_SECONDS = 20.0
#: What stopping takes beyond the time in which running steps may finish.
_STOPPING_SECONDS = 7.0
_BACKLOG = 2048


def main() -> int:
    """Start everything; return when it was stopped."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"))
    is_json = os.environ.get("LOG_FORMAT") == "json"
    logging.getLogger().handlers[0].setFormatter(JsonFormatter() if is_json else TextFormatter())
    try:
        listener = _listen(arguments.host, arguments.port)
    except OSError as error:
        place = f"{arguments.host}:{arguments.port}"
        sys.stderr.write(f"MGX cannot listen on {place}: {error.strerror or error}\n")
        return 1
    host, port = listener.getsockname()[:2]
    django = [sys.executable, "-m", "django"]
    web = [sys.executable, "-m", "mgx.supervisor.web", str(listener.fileno())]
    children = [
        Child("web", web, silence_seconds=_SILENCE_SECONDS, pass_fds=[listener.fileno()]),
        Child("engine", [*django, "qcluster"], silence_seconds=_SILENCE_SECONDS),
    ]
    if arguments.demo:
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
        children.append(Child("demo", [*django, "demo", "--url", url, "--wait", "60"], kept=False))
    Supervisor(children, grace_seconds=arguments.drain_seconds + _STOPPING_SECONDS).run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mgx.supervisor")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--drain-seconds", required=True, type=float)
    parser.add_argument("--demo", action="store_true")
    return parser


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens here, in the supervisor.

    So a taken port is found out at once, and who connects while the web process is replaced
    waits a moment instead of being refused.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(_BACKLOG)
    return listener


if __name__ == "__main__":
    sys.exit(main())
