"""Agents that break off: how soon another one has the step."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agents.models import AgentType
from mgx.bench.crew import hire
from mgx.bench.scene import Figures, Scene, wait_until
from mgx.bench.scratch import engine
from workflows.models import WorkflowExecution
from workflows.webhooks.signing import new_secret

#: The variable that holds it.
_SECRET = "BENCH_AGENT_SECRET"  # noqa: S105
_STEP = {"name": "call", "step_type": "agent", "agent_definition_id": "service", "max_retries": 0}


class _Service(ThreadingHTTPServer):
    """An agent that drops the first call of each step, and answers the next one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    #: When the call for a step was dropped, by the id that all its attempts have, and how many
    #: seconds later the next one came.
    dropped: dict[str, float] = {}
    seconds: list[float] = []

    def do_POST(self) -> None:
        now = time.perf_counter()
        step = self.headers["webhook-id"]
        self.rfile.read(int(self.headers["content-length"]))
        if step not in self.dropped:
            self.close_connection = True
            self.dropped[step] = time.perf_counter()
            return
        self.seconds.append(now - self.dropped[step])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def failover(scene: Scene, rounds: int) -> Figures:
    """Return how soon a second agent is called after the connection to the first one dropped."""
    with _serving() as first, _serving() as second:
        ports = [service.server_port for service in (first, second)]
        os.environ |= {
            _SECRET: new_secret(),
            "MGX_ALLOWED_INTERNAL_HOSTS": "127.0.0.1",
            "MGX_AGENT_SECRETS": f"{_SECRET}@127.0.0.1",
        }
        crew = hire(
            scene, "service", len(ports), places=1, agent_type=AgentType.HTTP, secret_env=_SECRET
        )
        for agent, port in zip(crew, ports, strict=True):
            agent.config = {"url": f"http://127.0.0.1:{port}/"}
            agent.save()
        workflow = scene.workflow("failover", [_STEP])
        with engine(1):
            for _ in range(rounds):
                [run] = scene.start(workflow, 1)
                wait_until(WorkflowExecution.objects.filter(id=run.id, status="completed").exists)
    times = sorted(_Handler.seconds)
    return {
        "failover_seconds": round(times[len(times) // 2], 4),
        "failover_slowest_seconds": round(times[-1], 4),
    }


@contextmanager
def _serving() -> Iterator[_Service]:
    with _Service() as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield service
        service.shutdown()
