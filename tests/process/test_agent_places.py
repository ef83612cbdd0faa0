"""Agents that many processes want at once, some of which are killed: nobody gets a place that there
is not, none is lost, turns are kept, and what is handed on has one owner."""

import heapq
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.process.engine_cluster import IS_LONG, Cluster, Killer, seeds, with_suppressed
from tests.process.installation import Installation, eventually

Note = Callable[[str, object], None]

PROCESSES, DRIVERS = 4, 10
RUNS, QUOTA = 40, 5
#: How many steps a run has, how long each takes, and how many processes are killed meanwhile.
STEPS, SECONDS, KILLS = (5, 0.3, 8) if IS_LONG else (3, 0.05, 3)
#: Seconds after the last kill in which everything is done.
PATIENCE = 60
AGENTS = 8
ASSIGNED = 10_000 if IS_LONG else 400
KEYS = 300 if IS_LONG else 30


class Claimants(Cluster):
    """Processes that each do what a function of ``ledger/claimants.py`` does."""

    def run(self, code: str) -> None:
        self.installation.shell(_CLAIMANTS + code)

    def begin(self, call: str) -> None:
        self._launch("shell", "--no-imports", "--command", f"{_CLAIMANTS}claimants.{call}")

    def keep_driving(self) -> None:
        """Have as many processes with drivers as there should be."""
        living = [process for process in self.processes if process.poll() is None]
        for _ in range(PROCESSES - len(living)):
            self.begin(f"drive({DRIVERS})")

    def kill_one(self, killer: Killer, after: float) -> tuple[int, float]:
        """Kill a process with its drivers when that share of the steps is done; return which one,
        and when."""
        self._eventually(
            lambda: len(self.ledger("places")) >= after * RUNS * STEPS and self.drivers(),
            "its moment",
        )
        victim = killer.choose(self.drivers())
        moment = time.time()
        with_suppressed(lambda: os.kill(victim, signal.SIGKILL))
        return victim, moment

    def go(self) -> None:
        """Let all that were begun work from the same moment on, and wait until they are done."""
        there = self.installation.directory / "there"
        self._eventually(
            lambda: there.exists() and there.stat().st_size == len(self.processes), "all of them"
        )
        go = self.installation.directory / "go"
        go.with_suffix(".new").write_text(str(time.time() + 0.1))
        go.with_suffix(".new").rename(go)
        self._eventually(
            lambda: all(process.poll() is not None for process in self.processes), "their end"
        )
        assert [process.returncode for process in self.processes] == [0] * len(self.processes)

    def _eventually(self, find: Callable[[], object], what: str) -> None:
        eventually(find, 300 if IS_LONG else 60, what, self.log)

    def most_at_once(self, killed: dict[int, float]) -> int:
        """Return how many agents worked at once, by what they wrote down themselves.

        ``killed``: when which process was; what worked in it then did no longer.
        """
        done = {row[:3]: row[4] for row in self.ledger("places")}
        began = sorted(self.ledger(), key=lambda row: row[4])
        ends: list[float] = []
        most = 0
        for *attempt, process, moment in began:
            while ends and ends[0] <= moment:
                heapq.heappop(ends)
            heapq.heappush(ends, done.get(tuple(attempt)) or killed[process])
            most = max(most, len(ends))
        return most


@pytest.fixture
def claimants(installation: Installation) -> Iterator[Claimants]:
    """No processes yet. One that is killed is missed at once, and none for being slow."""
    made = Claimants(installation)
    installation.environment |= {
        "MGX_LEASE_SECONDS": "30",
        "MGX_HEARTBEAT_SECONDS": "1",
        "MGX_MAX_CRASHES": str(KILLS + 2),
    }
    yield made
    made.close()


@pytest.mark.promise("P18 40 claimants of 5 places, their processes killed")
@pytest.mark.parametrize("seed", seeds())
def test_forty_who_claim_and_die_never_take_more_than_the_quota_and_lose_nothing(
    claimants: Claimants, record_property: Note, seed: int
) -> None:
    claimants.run(
        "claimants.hire(4, 10);"
        f"claimants.start_runs({RUNS}, {STEPS}, quota={QUOTA}, seconds={SECONDS})"
    )
    claimants.keep_driving()
    eventually(lambda: len(claimants.drivers()) == PROCESSES, 60, "the drivers", claimants.log)
    killer = Killer(claimants, seed)
    killed: dict[int, float] = {}
    for number in range(KILLS):
        after = killer.between(number, number + 1) / (KILLS + 1)
        killed |= [claimants.kill_one(killer, after)]
        claimants.keep_driving()
    claimants.wait_for_the_end(PATIENCE)
    query = claimants.installation.query
    assert claimants.statuses() == {"completed": RUNS}
    [(held,)] = query("SELECT max(held) FROM seen_places")
    assert held == QUOTA
    assert claimants.most_at_once(killed) <= QUOTA
    assert query("SELECT count(*) FROM agents_agentreservation WHERE released_at IS NULL") == [(0,)]
    _check_results(claimants)
    claimants.check()
    lost = len(claimants.ledger()) - RUNS * STEPS
    record_property(
        "figures",
        f"{RUNS * STEPS} steps, {len(killed)} processes killed with {lost} attempts, never too many"
        " at once",
    )


def _check_results(claimants: Claimants) -> None:
    """One result of each step was accepted: that of its last attempt."""
    query = claimants.installation.query
    steps = query("SELECT id, execution_id, name, output_data FROM workflows_workflowstepexecution")
    accepted = query(
        "SELECT step_execution_id, count(*) FROM agents_agentreservation"
        " WHERE outcome = 'completed' GROUP BY step_execution_id"
    )
    assert dict(accepted) == {step: 1 for step, *_ in steps}
    told = query(
        "SELECT workflow_step_id, count(*) FROM workflows_event"
        " WHERE event_type = 'step_completed' GROUP BY workflow_step_id"
    )
    assert dict(told) == dict(accepted)
    assert len(steps) == RUNS * STEPS
    done = {row[:3]: row[3] for row in claimants.ledger("places")}
    for _, run, name, output in steps:
        said = json.loads(output) if isinstance(output, str) else output
        assert done[str(run).replace("-", ""), name, said["attempt"]] == said["pid"]


@pytest.mark.promise("P18 agents assigned in turn by 4 processes")
def test_agents_take_turns_exactly_whoever_assigns(
    claimants: Claimants, record_property: Note
) -> None:
    claimants.run(f"claimants.hire({AGENTS}, {ASSIGNED})")
    for number in range(PROCESSES):
        claimants.begin(f"assign({number}, {ASSIGNED // PROCESSES})")
    claimants.go()
    given = claimants.installation.query(
        "SELECT agent_instance_id, count(*) FROM agents_agentreservation GROUP BY agent_instance_id"
    )
    assert [count for _, count in given] == [ASSIGNED // AGENTS] * AGENTS
    claimants.check()
    record_property("figures", f"{ASSIGNED} assignments to {AGENTS} agents, as many to each")


@pytest.mark.promise("P20 the same entries handed on by 4 processes at once")
def test_what_several_processes_hand_on_at_once_has_one_owner(
    claimants: Claimants, record_property: Note
) -> None:
    claimants.run(f"claimants.hire({PROCESSES + 1}, 1); claimants.remember({KEYS})")
    for number in range(PROCESSES):
        claimants.begin(f"hand_on({number + 1}, {KEYS})")
    claimants.go()
    owners: dict[str, set[str]] = {}
    tried: Counter[str] = Counter()
    for number in range(PROCESSES):
        told = claimants.installation.directory / f"handed-on-{number + 1}"
        for line in told.read_text().splitlines():
            key, _, owner = line.split()
            owners.setdefault(key, set()).add(owner)
            tried[key] += 1
    assert set(tried.values()) == {PROCESSES}
    assert {len(named) for named in owners.values()} == {1}, "all were told of the same owner"
    query = claimants.installation.query
    kept = query(
        "SELECT e.memory_key, i.slug FROM agents_agentmemoryentry e"
        " JOIN agents_agentinstance i ON i.id = e.agent_instance_id WHERE i.slug <> 'worker-0'"
    )
    assert sorted(kept) == sorted((key, *named) for key, named in owners.items())
    assert query("SELECT count(*) FROM agents_agenthandoff") == [(KEYS,)]
    claimants.check()
    record_property("figures", f"{KEYS} of {KEYS * PROCESSES} accepted, one of each entry")


_CLAIMANTS = "from tests.process.ledger import claimants; "
