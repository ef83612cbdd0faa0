"""Agents: how many one worker process waits for at once, how they are assigned, and how soon
another one takes over."""

import subprocess
import sys
import time

from agents.models import AgentMemoryEntry
from mgx.bench.assigning import assigning, turns
from mgx.bench.crew import hire
from mgx.bench.failing import failover
from mgx.bench.scene import Figures, Scene, wait_for_ends
from mgx.bench.scratch import engine, peak_mb

_SECONDS = 30.0
_PLACES = 10


def concurrency(
    scene: Scene, *, workers: int, size: int | None, seconds: float = _SECONDS
) -> Figures:
    """Agent calls of 30 s to a local HTTP server, all at once."""
    count = size or 1_000
    crew = hire(scene, "caller", -(-count // _PLACES), places=_PLACES)
    command = [sys.executable, "-m", "mgx.bench.slow_server", str(seconds)]
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
                taken = time.perf_counter() - begun
                peak = max(map(peak_mb, pids))
        finally:
            server.terminate()
    kept = AgentMemoryEntry.objects.filter(agent_instance__in=crew).count()
    return {
        "seconds": round(taken, 2),
        "peak_mb": peak,
        "how": (
            f"{count} agent calls of {seconds:g} s in one worker process, each assigned to one of"
            f" {len(crew)} agents, of which {kept} remember a result; its peak resident memory"
        ),
    }


def agents(scene: Scene, *, workers: int, size: int | None, seconds: float = _SECONDS) -> Figures:
    """A thousand agent steps at once, assignment among as many agents, turns, and failover."""
    count = size or 1_000
    at_work = concurrency(scene, workers=workers, size=count, seconds=seconds)
    return {
        **at_work,
        **assigning(scene, count),
        **turns(scene, 10 * count),
        **failover(scene, max(count // 20, 3)),
        "how": (
            f"{at_work['how']}; assign: reserve() for one step in its transaction, among {count}"
            " agents; turns: assignments in turn by 4 processes at once, exact if each agent got"
            " as many; failover: from when one agent's connection drops to when another one is"
            " called, median and slowest"
        ),
    }
