"""All measures by their names. Each returns its figures, and ``how`` it got them."""

from collections.abc import Callable

from mgx.bench.agents import agents, concurrency
from mgx.bench.chains import chain, fanout, latency, run
from mgx.bench.database import commits
from mgx.bench.deciding import deciding
from mgx.bench.faults import crash
from mgx.bench.graphs import makespan
from mgx.bench.inbox import inbox
from mgx.bench.memory import memory
from mgx.bench.people import gate
from mgx.bench.plans import plan
from mgx.bench.scene import Figures, Scene
from mgx.bench.sockets import sockets
from mgx.bench.timers import timers

__all__ = ["MEASURES", "Scene"]

MEASURES: dict[str, Callable[..., Figures]] = {
    measure.__name__: measure
    for measure in (
        commits,
        chain,
        latency,
        gate,
        concurrency,
        fanout,
        run,
        crash,
        timers,
        plan,
        makespan,
        inbox,
        sockets,
        deciding,
        memory,
        agents,
    )
}
