"""Processes that share the memory of agents, held to a memory that only one uses at a time."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.process.engine_cluster import IS_LONG, seeds
from tests.process.installation import ROOT, Installation, eventually
from tests.process.memory_client import KEYS

PROCESSES = 4
OPERATIONS = 500 if IS_LONG else 150
#: The second agent may remember less than there are keys.
LIMITS: list[dict[str, int]] = [{}, {"max_entries": 12, "max_bytes": 900}]
#: Seconds by which the clocks of a process and its database may be read apart.
_SLACK = 0.005

Note = Callable[[str, object], None]
Rows = dict[str, list[Any]]


class State(NamedTuple):
    """What a memory holds after a write: (value, when it expires) by key, and its bytes."""

    rows: Rows
    size: int

    def alive(self, moment: float) -> dict[str, Any]:
        """Return the values that have not expired at a moment."""
        return {key: value for key, (value, ends) in self.rows.items() if ends > moment}


class History:
    """All that the processes did, and what each memory held after each of its versions."""

    def __init__(self, said: list[dict[str, Any]], first: dict[str, int]) -> None:
        self.said = said
        self.states = {agent: {version: State({}, 0)} for agent, version in first.items()}
        #: The write that made a version.
        self.writes: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for each in self.of("holds"):
            for agent, held in each["holds"].items():
                state = State(held["rows"], held["bytes"])
                known = self.states[agent].setdefault(held["version"], state)
                assert known == state, f"version {held['version']} of {agent} is two"
            if each["is_change"]:
                writes = self.writes[each["agent"]]
                version = each["holds"][each["agent"]]["version"]
                assert version not in writes, f"two writes made version {version}"
                writes[version] = each

    def of(self, name: str) -> Iterator[dict[str, Any]]:
        return (each for each in self.said if name in each)


@pytest.mark.promise("P19 4 processes on the same keys of agents' memory")
@pytest.mark.parametrize("seed", seeds())
def test_processes_see_each_others_writes_and_lose_none(
    installation: Installation, seed: int, record_property: Note
) -> None:
    workspace, *agents = installation.shell(_PREPARE).split()
    said = run(installation, seed, workspace, agents)
    history = History(said, dict.fromkeys(agents, 0))
    for agent, limits in zip(agents, LIMITS, strict=True):
        no_write_is_lost(history, agent)
        nothing_is_above(history, agent, limits)
        reads_are_of_their_time(history, agent)
    copies_are_of_their_source(history)
    installation.manage("verify")
    reads = sum(1 for _ in history.of("found"))
    record_property("figures", f"{len(said)} operations, {reads} of them reads, all as by one")


def run(
    installation: Installation, seed: int, workspace: str, agents: list[str]
) -> list[dict[str, Any]]:
    """Have the processes do their operations; return what they say."""
    directory = installation.directory
    command = [sys.executable, "-m", "tests.process.memory_client"]
    processes = [
        subprocess.Popen(
            [*command, str(number), str(seed), str(OPERATIONS), workspace, *agents],
            env=installation.environment,
            cwd=ROOT,
        )
        for number in range(PROCESSES)
    ]
    ready = [directory / f"ready-{number}" for number in range(PROCESSES)]
    eventually(lambda: all(path.exists() for path in ready), 60, "the processes")
    (directory / "go").touch()
    assert [process.wait(300) for process in processes] == [0] * PROCESSES
    paths = [directory / f"client-{number}.jsonl" for number in range(PROCESSES)]
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def no_write_is_lost(history: History, agent: str) -> None:
    """Each version holds what the one before held, with what its write said, and nothing else."""
    states, writes = history.states[agent], history.writes[agent]
    versions = sorted(states)
    assert versions == list(range(len(versions)))
    assert writes.keys() == set(versions[1:])
    for version in versions[1:]:
        before, after, write = states[version - 1], states[version], writes[version]
        kept = dict(before.rows)
        for key in write.get("cleared", ()):
            kept.pop(key, None)
        expected = {key: value for key, (value, _) in kept.items()} | write.get("put", {})
        found = {key: value for key, (value, _) in after.rows.items()}
        assert found.items() <= expected.items(), (version, write)
        gone = expected.keys() - found.keys()
        # What went besides had expired, or had to make room.
        alive = {
            key for key in gone if key in write.get("put", ()) or _ends_after(kept, key, write)
        }
        assert not alive or _was_full(history, agent, expected), (version, write, alive)
    for write in history.of("cleared"):
        held = write["holds"][agent]["rows"] if write["agent"] == agent else {}
        assert not held.keys() & set(write["cleared"]), write


def nothing_is_above(history: History, agent: str, limits: dict[str, int]) -> None:
    """After no commit is a memory larger than it may be."""
    for version, state in history.states[agent].items():
        assert len(state.rows) <= limits.get("max_entries", len(KEYS)), version
        assert state.size <= limits.get("max_bytes", sys.maxsize), version


def reads_are_of_their_time(history: History, agent: str) -> None:
    """A read gives what a version held that was the last one while it was asked, if alive."""
    for read in history.of("found"):
        if read["agent"] != agent:
            continue
        assert read["ends"] is None or read["ends"] > read["began"] - _SLACK, read
        first, last = read["versions"]
        states = [history.states[agent][version] for version in range(first, last + 1)]
        assert any(_shows(read, state) for state in states), (read, states)


def copies_are_of_their_source(history: History) -> None:
    """What was copied is what the other memory held at that moment."""
    for copy in history.of("source"):
        held = copy["holds"][copy["source"]]["rows"]
        for key in copy["asked"]:
            if key in copy["put"]:
                assert held[key][0] == copy["put"][key], copy
                assert held[key][1] > copy["began"] - _SLACK, copy
            elif key in held:
                assert held[key][1] <= copy["ended"] + _SLACK, copy


def _shows(read: dict[str, Any], state: State) -> bool:
    """Tell whether a read could give this; what expires meanwhile may be there or not."""
    if read["key"] is not None:
        state = State({key: row for key, row in state.rows.items() if key == read["key"]}, 0)
    most = state.alive(read["began"] - _SLACK)
    least = state.alive(read["ended"] + _SLACK)
    return bool(least.items() <= read["found"].items() <= most.items())


def _ends_after(rows: Rows, key: str, write: dict[str, Any]) -> bool:
    return bool(rows[key][1] > write["ended"] + _SLACK)


def _was_full(history: History, agent: str, values: dict[str, Any]) -> bool:
    limits = LIMITS[list(history.states).index(agent)]
    size = sum(len(json.dumps(value)) for value in values.values())
    return len(values) > limits.get("max_entries", len(KEYS)) or size > limits.get(
        "max_bytes", sys.maxsize
    )


_PREPARE = f"""

from agents.memory import clear_memory
from agents.models import AgentDefinition, AgentInstance
from workflows.services.access import create_workspace
workspace = create_workspace(name="Acme", slug="acme")
definition = AgentDefinition.objects.create(name="A", slug="a", agent_type="demo")
agents = [
    AgentInstance.objects.create(
        workspace=workspace,
        definition=definition,
        name=name,
        slug=name,
        config={{"memory": limits}},
    )
    for name, limits in zip(("roomy", "tight"), {LIMITS!r})
]
for agent in agents:
    clear_memory(agent.pk, workspace.pk)
print(*(each.pk for each in (workspace, *agents)))
"""
