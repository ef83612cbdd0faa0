"""Tasks that nobody would want in the worker's own process."""

import ctypes
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from workflows.handlers import StepContext
from workflows.tasks import task


class Refused(Exception):
    code = "card_refused"


@task("isolated.where")
def where(context: StepContext, word: str) -> dict[str, Any]:
    """Say where and as what it runs."""
    print("this is no answer")  # noqa: T201
    return {"pid": os.getpid(), "key": context.idempotency_key, "word": word}


@task("isolated.say")
def say(word: str) -> None:
    logging.getLogger("workflows").info("%s", word)


@task("isolated.awaited")
async def awaited(word: str) -> str:
    return word


@task("isolated.spin")
def spin(directory: str, children: bool = False) -> None:
    """Compute for ever, and leave behind the pids of those who do."""
    path = Path(directory) / "pids"
    pids = [os.getpid()]
    if children:
        pids.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]).pid)
    path.with_suffix(".new").write_text(" ".join(map(str, pids)))
    path.with_suffix(".new").rename(path)
    while True:
        pass


@task("isolated.leave")
def leave(code: int) -> None:
    os._exit(code)


@task("isolated.crash")
def crash() -> None:
    ctypes.string_at(0)


@task("isolated.refuse")
def refuse() -> None:
    raise Refused("no money")


@task("isolated.flood")
def flood(size: int) -> str:
    return "x" * size


@task("isolated.hoard")
def hoard(megabytes: int) -> int:
    return len(bytearray(megabytes << 20))
