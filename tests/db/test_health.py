import socket
from datetime import timedelta

import pytest
from django.db.utils import OperationalError
from django.test import AsyncClient, Client
from django.utils import timezone

from mgx import health
from workflows.models import EngineDriver


def add_driver(**columns: object) -> None:
    now = timezone.now()
    EngineDriver.objects.create(
        **{"host": socket.gethostname(), "pid": 1, "started_at": now, "heartbeat_at": now} | columns
    )


def test_a_living_process_needs_neither_database_nor_a_host_name() -> None:
    answer = Client(headers={"host": "10.1.2.3:8000"}).get("/livez")
    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_it_answers_on_the_event_loop_too() -> None:
    answer = await AsyncClient().get("/livez")
    assert answer.status_code == 200


@pytest.mark.django_db
def test_it_is_ready_with_a_live_driver() -> None:
    add_driver()
    answer = Client(headers={"host": "10.1.2.3:8000"}).get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "database": True, "migrations": True, "engine": True}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "columns",
    [
        None,
        {"heartbeat_at": timezone.now() - timedelta(hours=1)},
        {"fenced_at": timezone.now()},
        {"stopped_at": timezone.now()},
    ],
    ids=["none", "silent", "fenced", "stopped"],
)
def test_it_is_not_ready_without_a_live_driver(columns) -> None:
    if columns is not None:
        add_driver(**columns)
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["engine"] is False


@pytest.mark.django_db
def test_it_is_not_ready_before_migrate(monkeypatch) -> None:
    add_driver()
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda *_: [("x", False)])
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["migrations"] is False


def test_it_is_not_ready_without_its_database(monkeypatch) -> None:
    def fail(connection: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(health, "MigrationExecutor", fail)
    monkeypatch.setattr(health.connection, "close", lambda: None)
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["database"] is False
