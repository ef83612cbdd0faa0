"""The tasks that come with MGX."""

import asyncio
import logging
from typing import Any

from workflows.http_task import request
from workflows.tasks import TaskFailure, task

__all__ = ["TaskFailure", "fail", "log", "request", "sleep", "transform"]

logger = logging.getLogger("workflows.task")


@task("transform")
async def transform(**inputs: Any) -> dict[str, Any]:
    """Return the inputs, with their references put in."""
    return inputs


@task("sleep")
async def sleep(seconds: float) -> dict[str, Any]:
    """Wait without holding anything, then return how long, in seconds."""
    await asyncio.sleep(seconds)
    return {"slept": seconds}


@task("fail")
async def fail(message: str = "This step always fails", code: str = "error") -> None:
    """Fail with ``message`` and ``code``."""
    raise TaskFailure(message, code)


@task("log")
async def log(message: str) -> dict[str, Any]:
    """Write a line to the log of the engine."""
    logger.info("%s", message)
    return {"message": message}
