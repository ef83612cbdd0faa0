"""Isolated tasks: a real process for each attempt, which ends with it whatever the task does."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.db.engine.isolated.workflow_tasks  # noqa: F401
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import AT_ONCE, Scene, ended, eventually, steps_of, task
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.engine.bodies import run_body
from workflows.engine.driver import Driver
from workflows.handlers import StepContext, isolation
from workflows.handlers.isolation import run_isolated
from workflows.services.executions import cancel_execution

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _with_its_tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.db.engine.isolated.settings")
    monkeypatch.setenv("MGX_VAR", str(tmp_path))


def isolated(name: str, **inputs: Any) -> dict[str, Any]:
    fields = {key: inputs.pop(key) for key in ("timeout_seconds",) if key in inputs}
    return task("s", f"isolated.{name}", inputs=inputs, config={"isolated": True}, **fields)


@pytest.fixture
def context(scene: Scene, hand: DriverByHand) -> Iterator[Any]:
    """Return a function that begins a step and returns its context."""
    runs = []

    def begin(name: str, **inputs: Any) -> StepContext:
        runs.append(scene.run(isolated(name, **inputs)))
        hand.turn()
        return hand.begun.pop("s")

    yield begin
    for run in runs:
        cancel_execution(run.id, user=None)


def outcome_of(context: StepContext) -> Outcome:
    return asyncio.run(run_body(context))


def pids_in(directory: Path) -> list[int]:
    path = directory / "pids"
    eventually(path.exists, "the task has begun")
    return [int(pid) for pid in path.read_text().split()]


def is_running(pid: int) -> bool:
    """Tell whether a process is there, and no zombie that only waits to be told of."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def all_gone(pids: list[int]) -> bool:
    return not any(is_running(pid) for pid in pids)


def test_a_task_runs_elsewhere_and_what_it_prints_is_no_answer(context: Any) -> None:
    step = context("where", word="grün")
    outcome = outcome_of(step)
    assert isinstance(outcome, Completed), outcome
    answer: Any = outcome.output
    assert answer["pid"] != os.getpid()
    assert (answer["key"], answer["word"]) == (step.idempotency_key, "grün")


def test_it_runs_under_a_name_that_is_refused_by_now(context: Any) -> None:
    step = context("awaited", word="hi")
    step.step = step.step.model_copy(update={"name": "go\u3164"})
    assert isinstance(outcome_of(step), Completed)


def test_an_async_task_runs_too(context: Any) -> None:
    outcome = outcome_of(context("awaited", word="hi"))
    assert isinstance(outcome, Completed), outcome
    assert outcome.text == '"hi"'


def test_what_it_logs_says_which_attempt_it_is_about(
    context: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    step = context("say", word="counted to ten")
    assert isinstance(outcome_of(step), Completed)
    [line] = [line for line in capfd.readouterr().err.splitlines() if "counted to ten" in line]
    told = json.loads(line)
    assert told["execution_id"] == str(step.execution_id)
    assert (told["step"], told["step_id"]) == ("s", str(step.step_execution_id))
    assert told["attempt"] == 1


@pytest.mark.parametrize(
    ("name", "inputs", "code", "words"),
    [
        ("leave", {"code": 0}, "process_died", "exit code 0"),
        ("leave", {"code": 7}, "process_died", "exit code 7"),
        ("crash", {}, "process_died", "SIGSEGV"),
        ("refuse", {}, "card_refused", "no money"),
        ("flood", {"size": 1_100_000}, "unstorable_output", ""),
    ],
)
def test_the_end_of_the_process_is_that_of_the_attempt(
    context: Any, name: str, inputs: Any, code: str, words: str
) -> None:
    outcome = outcome_of(context(name, **inputs))
    assert isinstance(outcome, Failed)
    assert outcome.code == code
    assert words in outcome.message
    assert outcome.is_final == (code == "unstorable_output")


def test_an_output_as_large_as_is_allowed_arrives(context: Any) -> None:
    outcome = outcome_of(context("flood", size=1_048_574))
    assert isinstance(outcome, Completed), outcome


def test_memory_has_a_limit(context: Any, settings: Any) -> None:
    settings.MGX_ISOLATED_MEMORY_MB = 1024
    outcome = outcome_of(context("hoard", megabytes=2048))
    assert isinstance(outcome, Failed)
    assert "MemoryError" in outcome.message


def test_a_deaf_task_is_killed_with_its_children_when_its_time_is_up(
    context: Any, tmp_path: Path
) -> None:
    outcome = outcome_of(context("spin", directory=str(tmp_path), children=True, timeout_seconds=4))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.is_timeout) == ("timeout", True)
    pids = pids_in(tmp_path)
    assert len(pids) == 2
    eventually(lambda: all_gone(pids), "both are gone")


def test_an_attempt_that_is_cancelled_kills_its_process(context: Any, tmp_path: Path) -> None:
    step = context("spin", directory=str(tmp_path))

    async def cancel_it() -> None:
        body = asyncio.ensure_future(run_isolated(step))
        while not (tmp_path / "pids").exists():
            await asyncio.sleep(0.01)
        body.cancel()
        with pytest.raises(asyncio.CancelledError):
            await body

    asyncio.run(cancel_it())
    assert all_gone(pids_in(tmp_path))


def test_its_time_begins_only_when_it_has_a_place(context: Any, tmp_path: Path) -> None:
    waiting = context("spin", directory=str(tmp_path), timeout_seconds=1)

    async def wait_longer_than_that_for_a_place() -> Outcome:
        loop = asyncio.get_running_loop()
        places = isolation._places[loop] = asyncio.Semaphore(1)
        async with places:
            attempt = asyncio.create_task(run_body(waiting))
            await asyncio.sleep(1.3)
            assert not attempt.done()
        return await attempt

    outcome = asyncio.run(wait_longer_than_that_for_a_place())
    assert isinstance(outcome, Failed)
    assert outcome.is_timeout


def test_no_more_run_at_once_than_the_machine_has_cores(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation.os, "cpu_count", lambda: 1)
    begin, running, most = asyncio.create_subprocess_exec, 0, 0

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        process = await begin(*arguments, **options)
        wait = process.wait

        async def gone() -> int:
            nonlocal running
            running -= 1
            return await wait()

        process.wait = gone
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", counted)
    steps = [context("awaited", word=word) for word in ("a", "b", "c")]

    async def all_at_once() -> list[Outcome]:
        return await asyncio.gather(*[run_body(step) for step in steps])

    assert [outcome.text for outcome in asyncio.run(all_at_once())] == ['"a"', '"b"', '"c"']
    assert most == 1


def test_a_worker_that_is_killed_takes_the_process_along(context: Any, tmp_path: Path) -> None:
    """The worker is a process of its own here, which holds the pipe."""
    request = isolation._request(context("spin", directory=str(tmp_path)))
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            "p = subprocess.Popen([sys.executable, '-m', 'workflows.isolated'],"
            " stdin=subprocess.PIPE, start_new_session=True)\n"
            "p.stdin.write(sys.stdin.buffer.readline()); p.stdin.flush(); time.sleep(60)",
        ],
        stdin=subprocess.PIPE,
    )
    assert worker.stdin
    worker.stdin.write(request)
    worker.stdin.close()
    pids = pids_in(tmp_path)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    eventually(lambda: all_gone(pids), "the task is gone too")


@pytest.mark.django_db(transaction=True)
def test_a_crash_is_tried_again_and_the_worker_lives(scene: Scene, engine: Driver) -> None:
    step = isolated("leave", code=3) | {"max_retries": 1}
    step["config"] |= AT_ONCE
    run = ended(scene.run(step))
    assert (run.error_code, steps_of(run)["s"].attempts) == ("process_died", 2)
    assert ended(scene.run(task("s"))).status == "completed"
