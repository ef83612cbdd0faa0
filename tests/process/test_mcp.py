"""The MCP server as agents meet it: its own process, and the official client."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.process.installation import ROOT, Installation, eventually, free_port
from tests.process.own_postgresql import OwnPostgresql, own_postgresql

__all__ = ["own_postgresql"]

_PEOPLE = """
from workflows.models import Membership, User
from workflows.services.access import create_workspace, issue_token
workspace = create_workspace(name="Acme", slug="acme")
for role in ("operator", "approver"):
    user = User.objects.create_user(role)
    Membership.objects.create(user=user, workspace=workspace, role=role)
print(issue_token(User.objects.get(username="operator"), name="x", scopes=["read", "write"])[1])
"""
_DECIDE = """
from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from workflows.models import User
waiting = WorkflowStepApproval.objects.get()
decision = Decision(waiting.pk, "approved", feedback="Go")
decide(decision, user=User.objects.get(username="approver"), door=Door.API)
"""
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


class Place:
    """An installation with an operator's token, and the server's process in it."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.token = installation.shell(_PEOPLE)

    @asynccontextmanager
    async def over_stdio(self, mode: str, token: str = "") -> Any:
        server = StdioServerParameters(
            command=sys.executable,
            args=[str(ROOT / "manage.py"), "mcp"],
            env={**self.installation.environment, "MGX_TOKEN": token or self.token},
        )
        async with Client(server, mode=mode) as client:
            yield client

    @contextmanager
    def http_server(self) -> Iterator[str]:
        port = free_port()
        log = Path(self.installation.directory / "mcp.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "mcp", "--http", f"127.0.0.1:{port}"],
                env=self.installation.environment,
                stdout=output,
                stderr=output,
            )
        url = f"http://127.0.0.1:{port}/mcp"
        try:
            eventually(lambda: _answers(url), 60, "the server listens", log)
            yield url
        finally:
            process.terminate()
            assert process.wait(30) in (0, -15), log.read_text()
        assert "Traceback" not in log.read_text()

    @asynccontextmanager
    async def over_http(self, url: str, mode: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=90) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            yield client

    async def decide(self) -> None:
        await asyncio.to_thread(self.installation.shell, _DECIDE)


def _answers(url: str) -> bool:
    try:
        return bool(httpx2.post(url).status_code)
    except httpx2.HTTPError:
        return False


@pytest.fixture
def place(installation: Installation) -> Place:
    return Place(installation)


async def ask_and_be_told(client: Client, place: Place) -> None:
    """Ask, wait, and be told within the wait what a person decides meanwhile."""
    listed = await client.list_tools()
    assert "request_approval" in {tool.name for tool in listed.tools}
    asked = {"title": "Pay", "payload": {"sum": 3}, "approvers": ["approver"]}
    made = await client.call_tool("request_approval", asked)
    assert made.structured_content is not None
    id = made.structured_content["id"]
    wait = asyncio.create_task(client.call_tool("wait_for_decision", {"id": id, "seconds": 60}))
    # Others are answered meanwhile.
    listed_now = await client.call_tool("list_approvals", {"status": "pending"})
    assert [each["id"] for each in listed_now.structured_content["approvals"]] == [id]
    assert not wait.done()
    await place.decide()
    async with asyncio.timeout(30):
        told = (await wait).structured_content
    assert (told["status"], told["decided_by"], told["feedback"]) == ("approved", "approver", "Go")
    assert (told["payload"], told["digest"]) == ({"sum": 3}, made.structured_content["digest"])
    refused = await client.call_tool("get_run", {"id": "../approvals"})
    assert refused.is_error
    assert "/id" in refused.content[0].text


@MODES
async def test_an_agent_asks_and_is_told_over_stdio(place: Place, mode: str) -> None:
    async with place.over_stdio(mode) as client:
        await ask_and_be_told(client, place)


@MODES
async def test_an_agent_asks_and_is_told_over_http(place: Place, mode: str) -> None:
    with place.http_server() as url:
        async with place.over_http(url, mode) as client:
            await ask_and_be_told(client, place)


async def test_a_token_of_nobody_is_refused_by_the_tool(place: Place) -> None:
    async with place.over_stdio("auto", token="mgx_of_nobody") as client:
        refused = await client.call_tool("who_am_i", {})
        assert refused.structured_content["status"] == 401


def test_without_a_token_it_says_what_is_missing(place: Place) -> None:
    ended = place.installation.manage("mcp", check=False, stdin=subprocess.DEVNULL)
    assert ended.returncode == 1
    assert "MGX_TOKEN" in ended.stderr
    assert ended.stdout == ""


def test_nothing_but_the_protocol_is_written_to_its_output(place: Place) -> None:
    place.installation.environment |= {"MGX_TOKEN": place.token, "LOG_LEVEL": "DEBUG"}
    call = (
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_run","arguments":{}}}'
    )
    ended = place.installation.manage("mcp", input=f"{call}\n\n{call}x\n")
    assert [line[:17] for line in ended.stdout.splitlines()] == ['{"jsonrpc": "2.0"'] * 2
    assert ended.stderr


@pytest.mark.skipif(
    not os.environ.get("DATABASE_URL", "").startswith("postgres"),
    reason="SQLite has no server that could stop",
)
async def test_the_database_stops_and_comes_back(
    own_postgresql: OwnPostgresql, tmp_path: Path
) -> None:
    installation = Installation(tmp_path, own_postgresql.url)
    installation.manage("migrate", "--verbosity", "0")
    place = Place(installation)
    with place.http_server() as url:
        async with (
            place.over_stdio("auto") as piped,
            place.over_http(url, "auto") as client,
        ):
            for each in (piped, client):
                assert not (await each.call_tool("list_agents", {})).is_error
            await asyncio.to_thread(own_postgresql.stop)
            refused = await piped.call_tool("list_agents", {})
            assert refused.structured_content["code"] == "database_unavailable"
            assert httpx2.post(url, **_ping(place)).status_code == 503
            await asyncio.to_thread(own_postgresql.start)
            for each in (piped, client):
                assert not (await each.call_tool("list_agents", {})).is_error


def _ping(place: Place) -> dict[str, Any]:
    return {
        "json": {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        "headers": {"Authorization": f"Bearer {place.token}"},
    }
