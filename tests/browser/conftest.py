"""A real web server beside the test's database, and a real browser in front of it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.gates import add_step, ask, start
from workflows.core.ids import step_execution_id
from workflows.models import WorkflowExecution, WorkflowStepExecution
from workflows.services.definitions import create_workflow

__all__ = ["add_step", "ask", "start"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.django_db(transaction=True))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="Chromium is not installed"))


@pytest.fixture(scope="session", autouse=True)
def _orm_beside_playwright() -> Iterator[None]:
    """Playwright keeps an event loop in this thread, which Django takes for asynchronous code."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    yield
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def site(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a web server on the test's database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "mgx.asgi:application"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--log-level", "warning"],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "DATABASE_URL": _database_url(),
            "MGX_VAR": str(tmp_path_factory.mktemp("var")),
            "SECRET_KEY": settings.SECRET_KEY,
            "LOG_LEVEL": "ERROR",
        },
    )
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _database_url() -> str:
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    user, password = database["USER"], database["PASSWORD"]
    credentials = f"{user}:{password}" if password else user
    return f"postgresql://{credentials}@{database['HOST']}:{database['PORT']}/{database['NAME']}"


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, "the web server ended"
        time.sleep(0.05)
    raise TimeoutError("the web server does not listen")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


def _fault(message: ConsoleMessage) -> list[str]:
    """What is wrong about a line of the console; a refusal is not, it was asked for."""
    refusals = (f"responded with a status of {status}" for status in (400, 409, 410))
    is_refusal = any(refusal in message.text for refusal in refusals)
    return [message.text] if message.type == "error" and not is_refusal else []


@pytest.fixture
def browse(
    chromium: Browser, site: str, client_for: Callable[[str], Client]
) -> Iterator[Callable[..., Page]]:
    """Return a function that signs in and opens a page: ``browse("/", role="approver")``.

    More keywords are those of a browser context. Whatever a page writes to the console as an
    error fails the test: the policy's violations are among it.
    """
    contexts, errors = [], []

    def open_page(address: str, role: str = "approver", **options: object) -> Page:
        context = chromium.new_context(base_url=site, timezone_id="Europe/Berlin", **options)
        contexts.append(context)
        session = client_for(role).cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": site}])
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.extend(_fault(message)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors, errors


@pytest.fixture
def block_run(
    workspace: object, users: dict[str, object], start: Callable[..., WorkflowExecution]
) -> WorkflowExecution:
    """A run with a branch, and a block of twenty items of which one failed and was done anew."""

    def task(name: str, *needs: str) -> dict[str, object]:
        config = {"task": "transform"}
        return {"name": name, "step_type": "task", "depends_on_steps": needs, "config": config}

    size = {
        "name": "size",
        "step_type": "condition",
        "condition_expression": "1 < 2",
        "config": {"branches": {"true": ["checks"], "false": ["skip_all"]}},
    }
    checks = {
        "name": "checks",
        "step_type": "parallel",
        "depends_on_steps": ["size"],
        "config": {"for_each": list(range(20)), "steps": [task("check"), task("note", "check")]},
    }
    document = {"name": "Blocks", "steps": [size, checks, task("skip_all", "size")]}
    run = start(
        create_workflow(workspace=workspace, document=document, user=users["editor"]), values={}
    )
    WorkflowExecution.objects.filter(pk=run.pk).update(status="running", wake_at=None)
    branch, items = {"result": True, "branch": "true"}, {"for_each": list(range(20))}
    _step(run, "size", "completed", step_type="condition", output_data=branch)
    _step(run, "skip_all", "skipped", skip_reason="branch_not_taken", started_at=None)
    _step(run, "checks", "running", step_type="parallel", input_data=items)
    for index in range(15):
        _step(run, f"check[{index}]", "completed", parent="checks", attempts=2)
    _step(run, "note[0]", "failed", parent="checks", error_message="The disk is full")
    _step(run, "note[0]", "running", parent="checks", revision=2)
    return run


def _step(
    run: WorkflowExecution, name: str, status: str, revision: int = 1, **columns: object
) -> None:
    now = timezone.now()
    WorkflowStepExecution.objects.create(
        id=step_execution_id(run.pk, name, revision),
        execution=run,
        name=name,
        revision=revision,
        status=status,
        **{
            "step_type": "task",
            "attempts": 1,
            "started_at": now,
            "completed_at": None if status == "running" else now,
            **columns,
        },
    )
