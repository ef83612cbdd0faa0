import asyncio
import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = (
        "Runs an MCP server, through which agents outside ask for approvals and start workflows:"
        " over standard input and output for the owner of the token in MGX_TOKEN, or over HTTP for"
        " the owner of each request’s bearer token."
    )
    # It has to answer also while the database is away, and to write nothing but its protocol.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--http", metavar="HOST:PORT", help="listen here instead, under /mcp")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["http"]:
            self._serve_http(options["http"])
        else:
            self._serve_stdio()

    def _serve_stdio(self) -> None:
        token = os.environ.get("MGX_TOKEN", "").strip()
        if not token:
            raise CommandError("Set MGX_TOKEN to a token of MGX: POST /api/v1/tokens/ makes one.")
        from mgx.mcp.stdio import claim_output, serve

        outgoing = claim_output()
        # Never closed: whoever still reads from it would have to end before.
        incoming = os.fdopen(os.dup(0), "rb")
        limit = settings.MGX_MAX_BODY_BYTES + 65_536
        try:
            asyncio.run(serve(_server(), token, incoming, outgoing, max_bytes=limit))
        except (KeyboardInterrupt, BrokenPipeError):
            return

    def _serve_http(self, address: str) -> None:
        import uvicorn

        from mgx.mcp.http import PATH, HttpDoor

        host, colon, port = address.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65_535:
            raise CommandError("--http is HOST:PORT, as in --http 127.0.0.1:8765")
        self.stderr.write(f"MCP over HTTP: http://{address}{PATH}", self.style.SUCCESS)
        uvicorn.run(
            HttpDoor(_server()),
            host=host.strip("[]") or "127.0.0.1",
            port=int(port),
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=5,
        )


def _server() -> Any:
    from mgx.asgi import application
    from mgx.mcp.protocol import Server
    from mgx.mcp.rest import Api

    return Server(Api(application))
