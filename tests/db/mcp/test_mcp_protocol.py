"""The protocol over HTTP and line by line, spoken well and badly."""

import asyncio
import io
import json
import queue
from contextlib import asynccontextmanager

import httpx
import pytest
from asgiref.sync import sync_to_async

from approvals import waiting
from mgx.asgi import application
from mgx.mcp.http import HttpDoor
from mgx.mcp.protocol import HANDSHAKE_VERSIONS, Server
from mgx.mcp.rest import Api
from mgx.mcp.stdio import serve
from workflows.live.tailer import tailer
from workflows.models import ApiToken
from workflows.services.access import revoke_token

pytestmark = pytest.mark.django_db(transaction=True)

STATELESS = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


@asynccontextmanager
async def door(token, **headers):
    transport = httpx.ASGITransport(HttpDoor(Server(Api(application))))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers=headers
    ) as client:
        yield client


def message(method, id=1, **params):
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


class Lines:
    """A pipe that ends with an empty line."""

    def __init__(self):
        self._lines = queue.SimpleQueue()

    def put(self, *lines):
        for line in lines:
            self._lines.put(f"{line}\n".encode() if line else b"")

    def readline(self, limit):
        return self._lines.get(timeout=30)


class TestOverHttp:
    @pytest.mark.parametrize("version", HANDSHAKE_VERSIONS)
    async def test_begins_with_the_version_that_is_asked_for(self, agent, version) -> None:
        async with door(agent.token) as client:
            answer = await client.post(
                "/mcp", content=message("initialize", protocolVersion=version)
            )
            assert answer.json()["result"]["protocolVersion"] == version
            note = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"})
            answer = await client.post("/mcp", content=note)
            assert (answer.status_code, answer.content) == (202, b"")

    async def test_offers_another_version_where_it_knows_none_like_that(self, agent) -> None:
        async with door(agent.token) as client:
            answer = await client.post(
                "/mcp", content=message("initialize", protocolVersion="1999-01-01")
            )
            assert answer.json()["result"]["protocolVersion"] == HANDSHAKE_VERSIONS[0]

    @pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer mgx_of_nobody", "Basic eA=="])
    async def test_without_a_valid_token_nothing_is_told(self, agent, authorization) -> None:
        async with door("", Authorization=authorization) as client:
            for method in ("initialize", "tools/list", "ping"):
                answer = await client.post("/mcp", content=message(method))
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == 'Bearer realm="mgx"'
                assert "result" not in answer.json()

    async def test_a_token_is_looked_up_for_each_message(self, agent) -> None:
        async with door(agent.token) as client:
            assert (await client.post("/mcp", content=message("ping"))).status_code == 200
            await sync_to_async(lambda: revoke_token(ApiToken.objects.get()))()
            assert (await client.post("/mcp", content=message("ping"))).status_code == 401

    async def test_pages_of_other_sites_are_refused(self, agent, settings) -> None:
        settings.MGX_URL = "https://mgx.example.org"
        for origin, status in (
            ("https://evil.example", 403),
            ("null", 403),
            ("https://mgx.example.org", 200),
        ):
            async with door(agent.token, Origin=origin) as client:
                assert (await client.post("/mcp", content=message("ping"))).status_code == status

    async def test_there_is_one_address_and_one_verb(self, agent) -> None:
        async with door(agent.token) as client:
            assert (await client.post("/other", content=message("ping"))).status_code == 404
            for verb in ("GET", "DELETE"):
                answer = await client.request(verb, "/mcp")
                assert (answer.status_code, answer.headers["allow"]) == (405, "POST")

    async def test_what_is_no_message_is_refused(self, agent, settings) -> None:
        settings.MGX_MAX_BODY_BYTES = 1_000
        bad = (b"{", b"[]", b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}', b"\xff", b"NaN")
        async with door(agent.token) as client:
            for body in (*bad, b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', b"[" * 1_000):
                answer = await client.post("/mcp", content=body)
                assert answer.status_code == 400, body
                assert answer.json()["error"]["code"] in (-32700, -32600)
            assert (await client.post("/mcp", content=b" " * 100_000)).status_code == 413
            form = {"Content-Type": "text/plain"}
            answer = await client.post("/mcp", content=message("ping"), headers=form)
            assert answer.status_code == 415
            old = {"MCP-Protocol-Version": "1999-01-01"}
            answer = await client.post("/mcp", content=message("ping"), headers=old)
            assert answer.status_code == 400

    async def test_what_there_is_not_is_an_error_of_the_protocol(self, agent) -> None:
        async with door(agent.token) as client:
            for text, code in (
                (message("resources/list"), -32601),
                (message("tools/call", name="rm"), -32602),
                (message("tools/call", name="list_agents", arguments=[1]), -32602),
                (message("tools/call", name=["x"]), -32602),
                ('{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}', -32602),
            ):
                answer = await client.post("/mcp", content=text)
                assert (answer.status_code, answer.json()["error"]["code"]) == (200, code)

    async def test_who_goes_away_is_waited_for_no_longer(self, agent) -> None:
        made = await agent.acall("request_approval", title="x")
        arguments = {"id": made["id"], "seconds": 60}
        body = message("tools/call", name="wait_for_decision", arguments=arguments).encode()
        waits, gone = waiting.waiters()._waiting, asyncio.Event()
        messages = [{"type": "http.request", "body": body}]
        headers = {"authorization": f"Bearer {agent.token}", "content-type": "application/json"}
        scope = {
            "type": "http",
            "path": "/mcp",
            "method": "POST",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }

        async def receive():
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(_):
            raise AssertionError("there is nobody to answer")

        async with asyncio.timeout(30):
            call = asyncio.create_task(HttpDoor(Server(Api(application)))(scope, receive, send))
            while not waits:
                await asyncio.sleep(0.005)
            gone.set()
            await call
        assert not waits
        await tailer().stop()


class TestWithoutAHandshake:
    async def test_each_message_says_its_version(self, agent) -> None:
        async with door(agent.token, **{"MCP-Protocol-Version": "2026-07-28"}) as client:
            text = message("server/discover", _meta=STATELESS)
            answer = await client.post(
                "/mcp", content=text, headers={"Mcp-Method": "server/discover"}
            )
            found = answer.json()["result"]
            assert found["supportedVersions"] == ["2026-07-28"]
            assert found["resultType"] == "complete"
            text = message("tools/call", name="list_agents", _meta=STATELESS)
            headers = {"Mcp-Method": "tools/call", "Mcp-Name": "list_agents"}
            answer = await client.post("/mcp", content=text, headers=headers)
            assert answer.json()["result"]["structuredContent"]["agents"] == []

    async def test_headers_that_say_something_else_are_refused(self, agent) -> None:
        text = message("tools/call", name="list_agents", _meta=STATELESS)
        async with door(agent.token, **{"MCP-Protocol-Version": "2026-07-28"}) as client:
            headers = {"Mcp-Method": "tools/call", "Mcp-Name": "who_am_i"}
            answer = await client.post("/mcp", content=text, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)

    async def test_a_version_that_is_not_known_is_named_with_those_that_are(self, agent) -> None:
        meta = STATELESS | {"io.modelcontextprotocol/protocolVersion": "2031-01-01"}
        async with door(agent.token) as client:
            answer = await client.post("/mcp", content=message("tools/list", _meta=meta))
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (400, -32022)
            assert error["data"] == {"supported": ["2026-07-28"], "requested": "2031-01-01"}


class TestLineByLine:
    async def _speak(self, token, *lines, max_bytes=10_000):
        outgoing = io.BytesIO()
        incoming = io.BytesIO(b"".join(lines))
        server = Server(Api(application))
        async with asyncio.timeout(30):
            await serve(server, token, incoming, outgoing, max_bytes=max_bytes)
        answers = [json.loads(line) for line in outgoing.getvalue().splitlines()]
        return {answer["id"]: answer for answer in answers}

    async def test_every_request_is_answered_and_no_notification(self, agent) -> None:
        answers = await self._speak(
            agent.token,
            message("ping", id="a").encode() + b"\n",
            b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n\n',
            message("tools/call", id=2, name="who_am_i").encode(),
        )
        assert set(answers) == {"a", 2}
        assert answers[2]["result"]["structuredContent"]["username"] == "operator"

    async def test_a_line_that_is_too_long_is_left_out(self, agent) -> None:
        answers = await self._speak(
            agent.token,
            b'{"x": "' + b"y" * 50_000 + b'"}\n',
            message("ping").encode() + b"\n",
        )
        assert answers[None]["error"]["message"] == "At most 10000 bytes are read"
        assert answers[1]["result"] == {}

    async def test_a_call_that_was_cancelled_gets_no_answer(self, agent) -> None:
        made = await agent.acall("request_approval", title="x")
        arguments = {"id": made["id"], "seconds": 60}
        call = message("tools/call", 7, name="wait_for_decision", arguments=arguments)
        cancel = {"method": "notifications/cancelled", "params": {"requestId": 7}}
        incoming, outgoing, waits = Lines(), io.BytesIO(), waiting.waiters()._waiting
        speaking = serve(
            Server(Api(application)), agent.token, incoming, outgoing, max_bytes=10_000
        )
        async with asyncio.timeout(30):
            task = asyncio.create_task(speaking)
            incoming.put(call)
            while not waits:
                await asyncio.sleep(0.005)
            incoming.put(json.dumps({"jsonrpc": "2.0", **cancel}))
            while waits:
                await asyncio.sleep(0.005)
            incoming.put(message("ping"), "")
            await task
        await tailer().stop()
        assert [json.loads(line)["id"] for line in outgoing.getvalue().splitlines()] == [1]

    async def test_an_unknown_token_is_told_by_the_tool(self) -> None:
        answers = await self._speak("mgx_x", message("tools/call", name="who_am_i").encode())
        assert answers[1]["result"]["structuredContent"]["status"] == 401
