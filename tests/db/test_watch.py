"""What the cluster's main process concludes from its signs of life, on a clock of our own."""

import os
import socket
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.utils import OperationalError
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from mgx.supervisor import watch
from mgx.supervisor.cluster import release_abandoned_tasks
from mgx.supervisor.pulse import Pulse, PulseBroker
from mgx.supervisor.watch import Watch
from workflows.clock import database_now
from workflows.engine.leases import process_key
from workflows.models import EngineDriver


class FakePulse:
    """Signs of life that a test gives."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.answers = 0
        self.asked = 0
        self.busy = 0
        self.is_guarded = True

    @property
    def guarded_at(self) -> float:
        return self.clock.now if self.is_guarded else 0.0

    @property
    def is_answered(self) -> bool:
        return self.answers >= self.asked

    def ask(self) -> None:
        self.asked += 1

    def count_busy(self) -> int:
        return self.busy


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = SimpleNamespace(now=0.0)
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


@pytest.fixture
def pulse(clock: Any, monkeypatch: pytest.MonkeyPatch) -> FakePulse:
    monkeypatch.setattr(watch, "_count_live_drivers", lambda: Conf.WORKERS)
    monkeypatch.setattr(watch, "_is_database_reached", lambda: True)
    return FakePulse(clock)


def verdicts(clock: Any, pulse: FakePulse, seconds: int, *, answering: bool = False) -> set[Any]:
    """Return everything that a watch says in the next seconds."""
    watching = Watch(pulse)  # type: ignore[arg-type]
    said = set()
    for _ in range(seconds * 2):
        clock.now += 0.5
        if answering:
            pulse.answers = pulse.asked
        said.add(watching.silence())
    return said - {None}


def test_it_is_content_while_pings_come_back(clock, pulse) -> None:
    assert verdicts(clock, pulse, 120, answering=True) == set()
    assert pulse.asked > 100


def test_a_ping_that_does_not_come_back_is_the_queues_silence(clock, pulse) -> None:
    assert verdicts(clock, pulse, 9) == set()
    assert verdicts(clock, pulse, 12) == {"a ping through the queue does not come back"}


def test_workers_that_are_all_busy_are_excused(clock, pulse) -> None:
    pulse.busy = Conf.WORKERS
    assert verdicts(clock, pulse, 120) == set()
    pulse.busy = Conf.WORKERS - 1
    assert verdicts(clock, pulse, 12) != set()


def test_the_databases_outage_is_nobodys_fault(clock, pulse, monkeypatch) -> None:
    monkeypatch.setattr(watch, "_is_database_reached", lambda: False)
    assert verdicts(clock, pulse, 120) == set()


def test_a_sentinel_that_goes_no_rounds_is_noticed(clock, pulse) -> None:
    pulse.is_guarded = False
    assert "the sentinel goes no rounds" in verdicts(clock, pulse, 12, answering=True)


def test_a_missing_driver_is_given_a_lease_and_some_seconds(
    clock, pulse, monkeypatch, settings
) -> None:
    settings.MGX_LEASE_SECONDS = 30.0
    monkeypatch.setattr(watch, "_count_live_drivers", lambda: Conf.WORKERS - 1)
    assert verdicts(clock, pulse, 40, answering=True) == set()
    (said,) = verdicts(clock, pulse, 50, answering=True)
    assert f"{Conf.WORKERS - 1} of {Conf.WORKERS} drivers" in said


def test_drivers_are_not_missed_while_the_database_is_away(clock, pulse, monkeypatch) -> None:
    def fail() -> int:
        raise OperationalError("gone")

    monkeypatch.setattr(watch, "_count_live_drivers", fail)
    monkeypatch.setattr(watch.connection, "close", lambda: None)
    assert verdicts(clock, pulse, 120, answering=True) == set()


def add_driver(**columns: Any) -> None:
    now = database_now()
    defaults = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process": process_key(os.getpid()),
        "started_at": now,
        "heartbeat_at": now,
    }
    EngineDriver.objects.create(**defaults | columns)


@pytest.mark.django_db
def test_only_heartbeats_of_this_process_group_count() -> None:
    add_driver()
    add_driver(pid=1)
    add_driver(host="elsewhere")
    add_driver(heartbeat_at=database_now() - timedelta(hours=1))
    add_driver(fenced_at=database_now())
    assert watch._count_live_drivers() == 1


@pytest.mark.django_db
def test_a_ping_goes_through_the_broker_and_back_without_the_database() -> None:
    pulse = Pulse()
    broker = PulseBroker(pulse)
    pulse.ask()
    ((identifier, package),) = broker.dequeue()
    task = SignedPackage.loads(package)
    assert task["func"] == "mgx.supervisor.pulse.answer_ping"
    assert not pulse.is_answered
    broker.acknowledge(identifier)
    assert pulse.is_answered
    assert not OrmQ.objects.exists()


@pytest.mark.django_db
def test_tasks_are_taken_from_the_database_beside_pings(monkeypatch) -> None:
    broker = PulseBroker(Pulse())
    OrmQ.objects.create(
        key=Conf.CLUSTER_NAME, payload="task", lock=timezone.now() - timedelta(seconds=1)
    )
    ((identifier, payload),) = broker.dequeue()
    assert payload == "task"
    broker.acknowledge(identifier)
    assert not OrmQ.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("process", "is_released"), [("", False), ("gone", True), ("here", False), (None, True)]
)
def test_what_a_dead_cluster_had_taken_goes_back_to_the_queue(process, is_released) -> None:
    """Unless another cluster lives, or may live on another machine."""
    here = process_key(os.getpid())
    if process is not None:
        pid = f" {os.getpid()} "
        keys = {"gone": here.replace(pid, " 4194304 "), "here": here, "": ""}
        add_driver(process=keys[process])
    OrmQ.objects.create(key=ORM().list_key, payload="x", lock=timezone.now() + timedelta(hours=1))
    release_abandoned_tasks()
    assert OrmQ.objects.filter(lock__lte=timezone.now()).exists() is is_released
