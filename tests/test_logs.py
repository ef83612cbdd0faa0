"""Log lines: one each, whatever is logged, with the step that it is about and without secrets."""

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from uuid import UUID

import pytest

from workflows.logs import JsonFormatter, LoggedStep, StepContextFilter, TextFormatter, log_for

RUN = UUID("01a203dd-67e6-76e9-ac93-3996305a8071")
STEP = UUID("01a203dd-67e6-76e9-ac93-3996305a8072")


class Log:
    """A logger whose lines are kept."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self._stream = io.StringIO()
        self._handler = logging.StreamHandler(self._stream)
        self._handler.setFormatter(formatter)
        self._handler.addFilter(StepContextFilter())
        self.logger = logging.Logger("some.logger")
        self.logger.addHandler(self._handler)

    @property
    def lines(self) -> list[str]:
        return self._stream.getvalue().splitlines()

    @property
    def documents(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self._stream.getvalue().split("\n") if line]


@pytest.fixture
def as_text() -> Log:
    return Log(TextFormatter())


@pytest.fixture
def as_json() -> Log:
    return Log(JsonFormatter())


HOSTILE = "a\r\n2026-01-01 ERROR forged line\x1b[31m\u2028b\x00\x85c"


def test_a_text_line_stays_one(as_text: Log) -> None:
    as_text.logger.warning("It said %s", HOSTILE)
    [line] = as_text.lines
    assert "WARNING some.logger It said a\\r\\n2026-01-01 ERROR forged" in line
    assert "\x1b" not in line


def test_a_json_line_stays_one_and_keeps_the_message(as_json: Log) -> None:
    as_json.logger.warning("It said %s", HOSTILE)
    [line] = as_json.lines
    assert "\x85" not in line
    document = json.loads(line)
    assert document["message"] == f"It said {HOSTILE}"
    assert (document["level"], document["logger"]) == ("WARNING", "some.logger")
    assert set(document) == {"time", "level", "logger", "message"}


def fail(text: str) -> None:
    raise ValueError(text)


def test_a_traceback_cannot_forge_a_line(as_text: Log) -> None:
    try:
        fail("no\n2026-01-01 ERROR forged line")
    except ValueError:
        as_text.logger.exception("It broke")
    first, *rest = as_text.lines
    assert "ERROR some.logger It broke" in first
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_json_holds_the_traceback(as_json: Log) -> None:
    try:
        fail("no")
    except ValueError:
        as_json.logger.exception("It broke")
    [document] = as_json.documents
    assert "ValueError: no" in document["exception"]


async def test_each_step_is_named_on_its_own_lines(as_json: Log) -> None:
    async def work(step: str) -> None:
        log_for(LoggedStep(RUN, step, STEP, 2))
        await asyncio.sleep(0)
        as_json.logger.info("%s works", step)
        await asyncio.to_thread(as_json.logger.info, "%s works in a thread", step)

    await asyncio.gather(asyncio.create_task(work("a")), asyncio.create_task(work("b[1]")))
    as_json.logger.info("Nobody in particular")
    *of_steps, last = as_json.documents
    assert len(of_steps) == 4
    for document in of_steps:
        assert document["execution_id"] == str(RUN)
        assert (document["step_id"], document["attempt"]) == (str(STEP), 2)
        assert document["message"].startswith(document["step"])
    assert "step" not in last


async def test_text_names_the_step_too(as_text: Log) -> None:
    async def work() -> None:
        log_for(LoggedStep(RUN, "deploy\nnow", STEP, 2))
        as_text.logger.info("It works")

    await asyncio.create_task(work())
    assert as_text.lines[0].endswith(f"It works [{RUN} deploy\\nnow #2]")


@pytest.mark.parametrize(
    "secret",
    [
        "mgx_0123456789abcdefghijABCDEFGHIJ",
        "Authorization: Bearer eyJhbGciOi.J9abc-def",
        "postgresql://mgx:hunter2hunter2@db/mgx",
    ],
)
def test_secrets_are_left_out(as_text: Log, as_json: Log, secret: str) -> None:
    for log in (as_text, as_json):
        log.logger.warning("It was given %s", secret)
        try:
            fail(secret)
        except ValueError:
            log.logger.exception("It failed")
        text = "\n".join(log.lines)
        assert "…" in text
        for part in ("0123456789", "eyJhbGciOi", "hunter2"):
            assert part not in text


@pytest.mark.parametrize("wanted", ["text", "json"])
def test_a_process_logs_in_the_format_that_is_asked_for(wanted: str) -> None:
    ask = "import django, logging; django.setup(); logging.getLogger('x').warning('a\\nb')"
    environment = os.environ | {"LOG_FORMAT": wanted, "DJANGO_SETTINGS_MODULE": "mgx.settings"}
    ran = subprocess.run(
        [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True
    )
    [line] = ran.stderr.splitlines()
    assert "a\\nb" in line
    assert line.startswith("{") is (wanted == "json")
