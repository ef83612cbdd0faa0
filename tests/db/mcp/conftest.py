"""An MCP server on the test's database, spoken to without a process or a socket around it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from approvals import waiting
from mgx.asgi import application
from mgx.mcp.protocol import Server
from mgx.mcp.rest import Api
from workflows.services.access import SCOPES, issue_token


class Agent:
    """Somebody who calls tools, with a token of their own."""

    def __init__(self, token: str) -> None:
        self.token = token

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the whole answer to a message."""
        return asyncio.run(self.aask(method, **params))

    async def aask(self, method: str, **params: Any) -> dict[str, Any]:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return await Server(Api(application)).answer(message, self.token)

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Return what a tool answers, which is no error."""
        return asyncio.run(self.acall(name, **arguments))

    async def acall(self, name: str, **arguments: Any) -> dict[str, Any]:
        result = (await self.aask("tools/call", name=name, arguments=arguments))["result"]
        assert result["isError"] is False, result
        return result["structuredContent"]

    def refusal(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Return the problem with which a tool refuses."""
        result = self.ask("tools/call", name=name, arguments=arguments)["result"]
        assert result["isError"] is True, result
        problem = result["structuredContent"]
        assert problem["code"] in result["content"][0]["text"]
        assert "Traceback" not in result["content"][0]["text"]
        return problem


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


@pytest.fixture
def make_agent(db: None) -> Callable[..., Agent]:
    """Return a function from a user to who calls tools with a token of theirs."""

    def make(user: Any, scopes: Any = SCOPES) -> Agent:
        return Agent(issue_token(user, name="test", scopes=scopes)[1])

    return make


@pytest.fixture
def agent(users: dict[str, Any], make_agent: Callable[..., Agent]) -> Agent:
    """An operator's."""
    return make_agent(users["operator"])
