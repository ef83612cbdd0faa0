"""MCP servers outside, as their client meets them: good ones of each kind, and bad ones."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from agents.backends.mcp_session import McpSession, ToolServerFault
from tests.db.agents.fake_tool_server import ToolHost, hosting
from tests.db.agents.official_server import official_server

SECRET = "canary-secret-of-the-tools"


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.MGX_ALLOWED_INTERNAL_HOSTS = ["127.0.0.1"]


@pytest.fixture
def host() -> Iterator[ToolHost]:
    with hosting() as made:
        yield made


def listed(url: str, secret: str = "", seconds: float = 20) -> list[dict[str, Any]]:
    return asyncio.run(McpSession(url, secret, seconds).list_tools())


def called(url: str, secret: str = "", seconds: float = 20, **arguments: Any) -> dict[str, Any]:
    session = McpSession(url, secret, seconds)
    return asyncio.run(session.call_tool("echo", arguments, idempotency_key="key-1"))


def fault_of(url: str, secret: str = "", seconds: float = 20) -> ToolServerFault:
    with pytest.raises(ToolServerFault) as caught:
        called(url, secret, seconds)
    assert "canary" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "options",
    [{}, {"json_response": True}, {"stateless_http": True}],
    ids=["streams", "json", "stateless"],
)
def test_servers_of_the_official_package_are_understood(options: dict[str, Any]) -> None:
    async def talk(url: str) -> None:
        session = McpSession(url, "", 20)
        tools = await session.list_tools()
        assert [tool["name"] for tool in tools] == ["forecast", "fail", "plain"]
        result = await session.call_tool("forecast", {"city": "Bonn"}, idempotency_key="1")
        assert result["structuredContent"]["city"] == "Bonn"
        result = await session.call_tool("fail", {"words": "no"}, idempotency_key="2")
        assert result["isError"] is True

    with official_server(**options) as url:
        asyncio.run(talk(url))


@pytest.mark.parametrize("streams", [False, True])
def test_a_call_says_who_calls_and_by_which_key(host: ToolHost, streams: bool) -> None:
    host.secret, host.session, host.streams = SECRET, "session-1", streams
    assert called(host.url, SECRET, words="hi")["content"][0]["text"] == "done"
    assert host.methods() == ["initialize", "notifications/initialized", "tools/call"]
    headers, message = host.asked[-1]
    assert (headers["idempotency-key"], headers["mcp-session-id"]) == ("key-1", "session-1")
    assert headers["mcp-protocol-version"] == "2025-11-25"
    assert message["params"]["_meta"] == {"mgx/idempotency-key": "key-1"}


def test_a_session_that_the_server_forgot_is_begun_anew(host: ToolHost) -> None:
    async def talk() -> None:
        host.session = "session-1"
        session = McpSession(host.url, "", 20)
        await session.list_tools()
        host.session = "session-2"
        await session.call_tool("echo", {}, idempotency_key="1")
        await session.call_tool("echo", {}, idempotency_key="2")

    asyncio.run(talk())
    assert host.methods().count("initialize") == 2
    assert host.methods().count("tools/call") == 3  # one of them was not taken


@pytest.mark.parametrize(
    "refusal",
    [
        {"code": -32022, "message": "Unsupported", "data": {"supported": ["2026-07-28"]}},
        {"code": -32601, "message": "There is no handshake"},
        404,
    ],
)
def test_a_server_that_knows_no_handshake_is_told_the_version_each_time(
    host: ToolHost, refusal: Any
) -> None:
    host.faults["initialize"] = refusal
    called(host.url)
    headers, message = host.asked[-1]
    assert (headers["mcp-method"], headers["mcp-name"]) == ("tools/call", "echo")
    meta = message["params"]["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert headers["mcp-protocol-version"] == "2026-07-28"


@pytest.mark.parametrize(
    ("method", "fault", "code", "maybe_done"),
    [
        ("initialize", 500, "http_500", False),
        ("initialize", 401, "http_401", False),
        ("initialize", b"no JSON", "tool_unreadable", False),
        ("tools/call", b"[]", "tool_unreadable", True),
        ("tools/call", b'{"jsonrpc": "2.0", "id": 77, "result": 1}', "tool_unreadable", True),
        ("tools/call", {"code": -32602, "message": "Unknown tool"}, "tool_refused", False),
        ("tools/call", 503, "http_503", True),
        ("tools/call", 400, "http_400", False),
        ("tools/call", b'"' + b"x" * 2_000_000 + b'"', "tool_answer_too_large", True),
    ],
)
def test_a_bad_answer_is_a_fault(
    host: ToolHost, method: str, fault: Any, code: str, maybe_done: bool
) -> None:
    host.faults[method] = fault
    found = fault_of(host.url, SECRET)
    assert (found.code, found.maybe_done) == (code, maybe_done)


def test_a_server_that_hangs_is_given_up(host: ToolHost) -> None:
    host.faults["tools/call"] = "hang"
    found = fault_of(host.url, seconds=0.5)
    assert (found.code, found.maybe_done) == ("tool_timeout", True)


def test_another_version_is_refused(host: ToolHost) -> None:
    host.knows = "1999-01-01"
    assert fault_of(host.url).code == "tool_protocol"


def test_the_secret_does_not_come_back(host: ToolHost) -> None:
    host.result = {"content": [{"type": "text", "text": f"You sent {SECRET}"}]}
    assert called(host.url, SECRET)["content"][0]["text"] == "You sent …"
    host.faults["tools/call"] = {"code": -32000, "message": f"Not {SECRET}"}
    fault_of(host.url, SECRET)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/mcp",
        "http://[::ffff:169.254.169.254]/",
        "http://10.0.0.5/mcp",
        "https://user:canary@tools.example.org/mcp",
    ],
)
def test_internal_addresses_are_not_called(settings: Any, url: str) -> None:
    settings.MGX_ALLOWED_INTERNAL_HOSTS = []
    assert fault_of(url).code == "forbidden_address"


def test_nobody_there_is_a_fault_that_did_nothing() -> None:
    found = fault_of("http://127.0.0.1:9/mcp")
    assert (found.code, found.maybe_done) == ("tool_unreachable", False)


def test_a_list_without_an_end_is_given_up(host: ToolHost) -> None:
    page = b'{"jsonrpc":"2.0","id":%d,"result":{"tools":[],"nextCursor":"again"}}'
    ids = iter(range(2, 100))

    class Endless(dict):  # type: ignore[type-arg]
        def get(self, method: str, default: Any = None) -> Any:
            return page % next(ids) if method == "tools/list" else None

    host.faults = Endless()
    with pytest.raises(ToolServerFault, match="no end"):
        listed(host.url)
