"""Agents: how many calls one worker process waits for at once."""

import subprocess
import sys
import time

from agents.models import AgentDefinition, AgentInstance, AgentType
from mgx.bench.scene import Figures, Scene, wait_for_ends
from mgx.bench.scratch import engine, peak_mb


def concurrency(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """Agent calls of 30 s to a local HTTP server, all at once."""
    count = size or 1_000
    definition = AgentDefinition.objects.create(
        name="Caller", slug="caller", agent_type=AgentType.PYTHON, config={"task": "bench.call"}
    )
    AgentInstance.objects.create(
        workspace=scene.workspace,
        definition=definition,
        name="caller",
        slug="caller-1",
        max_concurrency=count,
    )
    command = [sys.executable, "-m", "mgx.bench.slow_server", "30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            step = {"name": "call", "step_type": "agent", "agent_definition_id": "caller"}
            workflow = scene.workflow("calls", [{**step, "config": {"inputs": {"port": port}}}])
            with engine(1) as pids:
                begun = time.perf_counter()
                scene.start(workflow, count)
                wait_for_ends()
                seconds = time.perf_counter() - begun
                peak = max(map(peak_mb, pids))
        finally:
            server.terminate()
    return {
        "seconds": round(seconds, 2),
        "peak_mb": peak,
        "how": f"{count} agent calls of 30 s in one worker process; its peak resident memory",
    }
