"""Fixtures: workflows made in a line, an engine in this process, and one that is moved by hand.

After each test the invariants are asked of the database.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from tests.db.agents.model_server import ModelServer, serving
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene
from tests.invariants import assert_invariants
from workflows.engine.driver import Driver
from workflows.models import Workspace


@pytest.fixture(autouse=True)
def _quick_engine(settings: Any) -> None:
    """Let a stopping driver give up soon."""
    settings.MGX_DRAIN_SECONDS = 0.5


@pytest.fixture(autouse=True)
def _invariants(request: pytest.FixtureRequest) -> Iterator[None]:
    is_real = request.node.get_closest_marker("django_db").kwargs.get("transaction")
    request.getfixturevalue("transactional_db" if is_real else "db")
    yield
    assert_invariants(ask)


def ask(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


@pytest.fixture
def scene(_invariants: None, workspace: Workspace, users: dict[str, Any]) -> Scene:
    """A workspace with a member of each role, to define and to start workflows in."""
    return Scene(workspace, users)


@pytest.fixture
def launch(_invariants: None) -> Iterator[Callable[[], Driver]]:
    """Return a function that starts a driver in this process."""
    drivers: list[Driver] = []

    def start() -> Driver:
        driver = Driver()
        driver.launch()
        drivers.append(driver)
        return driver

    yield start
    for driver in drivers:
        driver.stop()
    stopped = [driver.join(20) for driver in drivers]
    assert all(stopped), "a driver does not stop"


@pytest.fixture
def engine(launch: Callable[[], Driver]) -> Driver:
    """A driver that is running."""
    return launch()


@pytest.fixture
def hand(_invariants: None) -> DriverByHand:
    """A driver that takes a turn when it is told to, and no other."""
    return DriverByHand()


@pytest.fixture
def server(settings: Any) -> Iterator[ModelServer]:
    """A model behind an API of this machine, which the settings name."""
    settings.MGX_ALLOWED_INTERNAL_HOSTS = ["127.0.0.1"]
    with serving() as made:
        settings.LLM_BASE_URL = made.url
        settings.LLM_MODEL = "small"
        yield made
