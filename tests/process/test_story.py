"""The main job, end to end: ``up --demo``, a real socket, REST, and a kill in the middle."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.process.installation import Up, eventually


class Demo:
    """The running demo, seen by one of its users."""

    def __init__(self, up: Up, role: str = "approver") -> None:
        self.up = up
        path = up.installation.directory / "demo.json"
        eventually(path.exists, 60, "demo.json", up.log)
        eventually(lambda: up.get("/livez")[0] == 200, 60, "an open port", up.log)
        self.token = json.loads(path.read_text())["users"][role]["token"]

    def call(self, path: str, body: Any = None) -> Any:
        """Call the API; return the document that it answers."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.up.url}/api/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read())

    def listen(self, query: str = "workspace=demo", **headers: str) -> ClientConnection:
        return connect(
            f"ws://127.0.0.1:{self.up.port}/ws/events/?{query}",
            additional_headers={"Authorization": f"Bearer {self.token}"} | headers,
        )

    def gate(self, run: str = "") -> dict[str, Any]:
        """Return the request that ``run``, or else any run, waits for, once it does."""
        path = f"approvals/?workspace=demo&status=pending&workflow_execution={run}"
        found = eventually(lambda: self.call(path)["results"], 60, "the gate", self.up.log)
        return found[0]

    def new_gate(self) -> dict[str, Any]:
        """Start another run; return the request that it waits for."""
        body = {
            "workflow": "Deployment",
            "workspace": "demo",
            "input_variables": {"task_description": "Deploy"},
        }
        return self.gate(self.call("executions/", body)["id"])

    def run(self, approval: dict[str, Any]) -> dict[str, Any]:
        return self.call(f"executions/{approval['workflow_execution_id']}/")


@pytest.fixture
def demo(shared_up: Callable[..., Up]) -> Demo:
    """The demo, running, as its approver sees it."""
    return Demo(shared_up("--demo"))


def events(socket: ClientConnection) -> Iterator[dict[str, Any]]:
    while True:
        message = json.loads(socket.recv(timeout=30))
        if message["type"] == "event":
            yield message["event"]


def closing(socket: ClientConnection) -> int | None:
    """Return the code with which the server closes a socket, None if it just goes away."""
    try:
        while True:
            socket.recv(timeout=30)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def approve(demo: Demo, approval: dict[str, Any]) -> None:
    body = {"outcome": "approved", "digest": approval["digest"]}
    assert demo.call(f"approvals/{approval['id']}/decisions/", body)["status"] == "approved"


def test_the_demo_opens_its_gate_and_an_approval_completes_it(
    demo: Demo, record_property: Callable[[str, object], None]
) -> None:
    gate = demo.gate()
    assert gate["title"] == "Approve Deployment Plan"
    eventually(lambda: gate["id"] in demo.up.log.read_text(), 30, "where the gate is", demo.up.log)
    with demo.listen() as socket:
        assert json.loads(socket.recv())["type"] == "ready"
        started = time.monotonic()
        approve(demo, gate)
        heard = []
        for event in events(socket):
            heard.append(event["event_type"])
            if event["event_type"] == "approval_granted":
                record_property("granted_ms", round(1000 * (time.monotonic() - started)))
            if event["event_type"] == "workflow_completed":
                break
    assert heard[0] == "approval_granted"
    assert "step_completed" in heard
    run = demo.run(gate)
    assert run["status"] == "completed"


@pytest.mark.parametrize("role", ["web", "main", "sentinel", "first worker", "monitor"])
def test_a_kill_while_it_runs_changes_only_some_seconds(demo: Demo, role: str) -> None:
    gate = demo.new_gate()
    roles = demo.up.roles()
    approve(demo, gate)
    os.kill(roles[role], signal.SIGKILL)
    eventually(lambda: demo.run(gate)["status"] == "completed", 60, "the end", demo.up.log)
    steps = demo.call(f"executions/{gate['workflow_execution_id']}/steps/")
    assert [step["status"] for step in steps["results"]] == ["completed"] * 3


def test_a_restart_goes_on_where_it_was(start_up: Callable[..., Up]) -> None:
    demo = Demo(start_up("--demo"))
    gate = demo.gate()
    assert demo.up.stop() == 0
    again = Demo(start_up("--demo"))
    assert again.token == demo.token
    assert again.gate()["id"] == gate["id"]
    approve(again, gate)
    eventually(lambda: again.run(gate)["status"] == "completed", 60, "the end", again.up.log)


def test_a_socket_resumes_from_its_cursor_after_the_web_process_died(demo: Demo) -> None:
    seqs = []
    with demo.listen("workspace=demo&after=0") as socket:
        gate = demo.new_gate()
        for event in events(socket):
            seqs.append(event["seq"])
            if event["approval_id"] == gate["id"]:
                break
        os.kill(demo.up.roles()["web"], signal.SIGKILL)
        assert closing(socket) is None
    approve(demo, gate)
    with demo.listen(f"workspace=demo&after={seqs[-1]}") as socket:
        for event in events(socket):
            seqs.append(event["seq"])
            if event["event_type"] == "workflow_completed":
                break
    assert seqs == list(range(1, len(seqs) + 1))


def test_the_server_refuses_what_a_socket_may_not_do(demo: Demo) -> None:
    with demo.listen() as socket:
        socket.send("x" * 1_000_000)
        assert closing(socket) == 1009
    with connect(f"ws://127.0.0.1:{demo.up.port}/ws/nothing/") as socket:
        assert closing(socket) == 4404
    url = f"ws://127.0.0.1:{demo.up.port}/ws/events/"
    with pytest.raises(InvalidStatus) as refused:
        connect(url, origin="https://evil.example")  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
