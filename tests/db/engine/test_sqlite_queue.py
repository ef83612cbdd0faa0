"""SQLite's writers queue up: beside a busy one, no other starves."""

import fcntl
import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from tests.db.engine.threads import at_once
from workflows.models import EngineDriver, Project, Workspace

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="This is SQLite's own"),
]


def queue_path() -> Path:
    return Path(f"{connection.settings_dict['NAME']}-queue")


def test_a_writer_is_not_starved_beside_busy_ones(workspace: Workspace) -> None:
    """It waits for a handful of their transactions, and then has its turn."""
    is_over = threading.Event()
    turns: list[int] = []

    def be_busy(number: int) -> None:
        """Write all the time, without a pause between two transactions."""
        try:
            while not is_over.is_set():
                with transaction.atomic():
                    Workspace.objects.update(name="Busy")
                    is_over.wait(0.005)
                turns.append(number)
        finally:
            connection.close()

    busy = [threading.Thread(target=be_busy, args=[number]) for number in range(2)]
    for thread in busy:
        thread.start()
    waits = []
    try:
        for number in range(30):
            before = len(turns)
            with transaction.atomic():
                waits.append(len(turns) - before)
                Project.objects.create(workspace=workspace, name="P", slug=f"p{number}")
    finally:
        is_over.set()
        for thread in busy:
            thread.join()
    # Without the queue each wait is hundreds of turns. One of them may be long with it too: this
    # process's threads share one interpreter, and who is woken has to be let in first.
    assert sum(waits) <= 10 * len(waits), waits
    assert {0, 1} == set(turns), "and the busy ones have their turns too"


def test_many_writers_take_turns_and_none_is_refused(workspace: Workspace) -> None:
    def write(writer: int) -> None:
        for number in range(20):
            with transaction.atomic():
                Project.objects.create(workspace=workspace, name="P", slug=f"p{writer}-{number}")

    at_once(8, write)
    assert Project.objects.count() == 160


@pytest.mark.parametrize("how", ["commit", "rollback", "error", "single statement", "savepoint"])
def test_the_place_in_the_queue_is_given_back(workspace: Workspace, how: str) -> None:
    match how:
        case "commit":
            with transaction.atomic():
                Workspace.objects.update(name="x")
        case "rollback":
            with transaction.atomic():
                Workspace.objects.update(name="x")
                transaction.set_rollback(True)
        case "error":
            with pytest.raises(IntegrityError), transaction.atomic():
                Workspace.objects.create(name="x", slug=workspace.slug)
        case "single statement":
            Workspace.objects.update(name="x")
        case "savepoint":
            with transaction.atomic(), transaction.atomic():
                Workspace.objects.update(name="x")
    assert at_once(1, lambda _: is_free()) == [True]


def is_free() -> bool:
    with queue_path().open() as queue:
        try:
            fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_connection_that_is_closed_in_its_transaction_holds_nobody_up(
    workspace: Workspace,
) -> None:
    def leave(_: int) -> None:
        connection.set_autocommit(False)
        Workspace.objects.update(name="x")
        connection.close()

    at_once(1, leave)
    assert is_free()
    Workspace.objects.update(name="y")
    assert Workspace.objects.get().name == "y"


def test_reading_waits_for_nobody(workspace: Workspace) -> None:
    holds, is_read = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        with transaction.atomic():
            Workspace.objects.update(name="z")
            holds.set()
            assert is_read.wait(10)

    def read(_: int) -> Any:
        holds.wait(10)
        try:
            return list(EngineDriver.objects.all()), Workspace.objects.get().name
        finally:
            is_read.set()

    _, (_, name) = at_once(2, lambda number: (hold, read)[number](number))  # type: ignore[misc]
    assert name == "Acme"
