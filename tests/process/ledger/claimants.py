"""Processes that want agents all at once: drivers by the dozen, those who only assign, those who
hand the same thing on. A file ``go`` lets them begin together."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from unittest.mock import patch

from django.conf import settings
from django.db import connection, transaction

from agents.memory import store_memories
from agents.memory.writing import NewEntry
from agents.models import AgentDefinition, AgentInstance, AgentType
from agents.services.assignment import Assigned, reserve
from agents.services.handoff import handoff_context
from mgx.bench.crew import attempt
from tests.process.ledger.scenes import start
from workflows.clock import database_now
from workflows.engine.driver import Driver
from workflows.errors import Conflict
from workflows.models import Workspace
from workflows.policies import MAX_AGENT_STEPS
from workflows.services.access import create_workspace
from workflows.services.definitions import create_workflow

#: After each commit that takes a place, how many are taken: exactly, for on PostgreSQL such commits
#: go one after the other from here on.
_WITNESS = {
    "sqlite": [
        "CREATE TABLE seen_places (held integer)",
        "CREATE TRIGGER witness AFTER INSERT ON agents_agentreservation BEGIN"
        " INSERT INTO seen_places SELECT count(*) FROM agents_agentreservation"
        " WHERE released_at IS NULL; END",
    ],
    "postgresql": [
        "CREATE TABLE seen_places (held integer)",
        "CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM pg_advisory_xact_lock(18);"
        " INSERT INTO seen_places SELECT count(*) FROM agents_agentreservation"
        " WHERE released_at IS NULL; RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER witness AFTER INSERT ON agents_agentreservation"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION witness()",
    ],
}
_LOOK_SECONDS = 1.0


def hire(count: int, places: int) -> None:
    """Make a workspace with so many agents, of so many places each."""
    workspace = create_workspace(name="Chaos", slug="chaos")
    definition = AgentDefinition.objects.create(
        name="Worker",
        slug="worker",
        agent_type=AgentType.PYTHON,
        config={"task": "ledger.take_place"},
    )
    for number in range(count):
        AgentInstance.objects.create(
            workspace=workspace,
            definition=definition,
            name=f"Worker {number}",
            slug=f"worker-{number}",
            max_concurrency=places,
        )


def start_runs(runs: int, steps: int, *, quota: int, seconds: float) -> None:
    """Start runs of so many agent steps each, in a workspace that lets in ``quota`` of them."""
    workspace = Workspace.objects.get()
    workspace.settings = {MAX_AGENT_STEPS: quota}
    workspace.save()
    with connection.cursor() as cursor:
        for statement in _WITNESS[connection.vendor]:
            cursor.execute(statement)
    wanted = [
        {
            "name": f"step{number}",
            "step_type": "agent",
            "agent_definition_id": "worker",
            "config": {"inputs": {"seconds": seconds}},
        }
        for number in range(steps)
    ]
    document = {"name": "Chaos", "steps": wanted}
    start(create_workflow(workspace=workspace, document=document, user=None), runs)


def drive(count: int) -> None:
    """Be so many drivers, until somebody ends this process."""
    with patch("workflows.engine.driver.watch", _look_often):
        drivers = [Driver() for _ in range(count)]
        for driver in drivers:
            driver.launch()
        for driver in drivers:
            driver.join()


async def _look_often(channel: str) -> AsyncIterator[None]:
    """Take the place of listening, for which each driver would need a connection of its own."""
    while True:
        yield
        await asyncio.sleep(_LOOK_SECONDS)


def assign(seed: int, count: int) -> None:
    """Assign agents in turn to ``count`` steps, a few at a time."""
    draw = random.Random(seed)  # noqa: S311  (a test's own)
    workspace = Workspace.objects.get()
    _wait_for_go()
    while count:
        some = min(draw.randint(1, 5), count)
        with transaction.atomic():
            answers = reserve(
                [attempt(workspace, "worker", "round_robin") for _ in range(some)], database_now()
            )
        assert all(isinstance(answer, Assigned) for answer in answers)
        count -= some


def remember(count: int) -> None:
    """Let the first agent know so many things."""
    agent = _agent(0)
    store_memories(agent.id, agent.workspace_id, [NewEntry(f"k{n}", n) for n in range(count)])


def hand_on(to: int, count: int) -> None:
    """Hand all that on to the agent ``to``, one by one and each at the same moment as the others
    do; note what came of it."""
    source, target = _agent(0), _agent(to)
    begin = _wait_for_go()
    with open(settings.MGX_VAR / f"handed-on-{to}", "w") as told:
        for number in range(count):
            time.sleep(max(0.0, begin + number * 0.03 - time.time()))
            owner = target.slug
            try:
                handoff_context(source.id, target.id, context_keys=[f"k{number}"])
            except Conflict as refused:
                owner = AgentInstance.objects.get(id=refused.facts["owner"]).slug
            told.write(f"k{number} {target.slug} {owner}\n")


def _agent(number: int) -> AgentInstance:
    return AgentInstance.objects.get(slug=f"worker-{number}")


def _wait_for_go() -> float:
    """Say that this process is there; return when all may begin, as the file says."""
    with open(settings.MGX_VAR / "there", "a") as there:
        there.write(".")
    while True:
        with contextlib.suppress(FileNotFoundError, ValueError):
            begin = float((settings.MGX_VAR / "go").read_text())
            time.sleep(max(0.0, begin - time.time()))
            return begin
        time.sleep(0.01)
