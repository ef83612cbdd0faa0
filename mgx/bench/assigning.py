"""How agents are assigned: what it costs among many of them, and that turns are kept exactly."""

import random
import subprocess
import sys
import time

from django.db import transaction

from agents.models import AgentReservation
from agents.services.assignment import Assigned, reserve
from agents.services.settling import release
from mgx.bench.crew import attempt, hire
from mgx.bench.scene import Figures, Scene, spread
from mgx.bench.scratch import tidy
from workflows.clock import database_now
from workflows.core.outcomes import Completed
from workflows.handlers import Ended
from workflows.models import Workspace

_FEW = 10
_FEWEST_ROUNDS, _MOST_ROUNDS = 20, 300
_PROCESSES = 4
_IN_TURN = 8


def assigning(scene: Scene, count: int) -> Figures:
    """Return what it takes to assign an agent to a step among ``count``, half of which work."""
    workspace = scene.workspace
    for slug, number in (("few", _FEW), ("many", count)):
        hire(scene, slug, number, places=2)
        with transaction.atomic():
            reserve([attempt(workspace, slug) for _ in range(number // 2)], database_now())
    tidy()
    times: dict[str, list[float]] = {"few": [], "many": []}
    for _ in range(max(_FEWEST_ROUNDS, min(count, _MOST_ROUNDS))):
        for slug, taken in times.items():
            taken.append(_assign_one(workspace, slug))
    many, few = spread(times["many"]), spread(times["few"])
    return {
        "assign_median_ms": many["median_ms"],
        "assign_p95_ms": many["p95_ms"],
        f"assign_ratio_{count}_to_{_FEW}": round(many["median_ms"] / few["median_ms"], 2),
    }


def _assign_one(workspace: Workspace, slug: str) -> float:
    """Return the milliseconds in which a step gets an agent, which it then gives back."""
    context = attempt(workspace, slug)
    with transaction.atomic():
        now = database_now()
        begun = time.perf_counter()
        reserve([context], now)
        taken = time.perf_counter() - begun
    with transaction.atomic():
        release([Ended(context.step_execution_id, 1, Completed({}))], database_now())
    return taken * 1_000


def turns(scene: Scene, count: int) -> Figures:
    """Return how ``count`` assignments by several processes were shared among agents that take
    turns."""
    count -= count % (_PROCESSES * _IN_TURN)
    crew = hire(scene, "turns", _IN_TURN, places=count)
    code = f"from mgx.bench.assigning import assign; assign({count // _PROCESSES})"
    command = [sys.executable, "manage.py", "shell", "--no-imports", "--command", code]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(_PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    begun = time.perf_counter()
    for process in processes:
        process.communicate("go\n")
    seconds = time.perf_counter() - begun
    given = [AgentReservation.objects.filter(agent_instance=agent).count() for agent in crew]
    return {
        "turns": sum(given),
        "turns_exact": given == [count // _IN_TURN] * _IN_TURN,
        "turns_per_second": round(count / seconds, 1),
    }


def assign(count: int) -> None:
    """Say that this process is there; once it is told to, assign agents a few at a time."""
    draw = random.Random(count)  # noqa: S311  (a benchmark's own)
    workspace = Workspace.objects.get()
    sys.stdout.write("there\n")
    sys.stdout.flush()
    sys.stdin.readline()
    while count:
        some = min(draw.randint(1, 5), count)
        wanted = [attempt(workspace, "turns", "round_robin") for _ in range(some)]
        with transaction.atomic():
            answers = reserve(wanted, database_now())
        count -= sum(isinstance(answer, Assigned) for answer in answers)
