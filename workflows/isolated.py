"""One attempt of a task, in a process of its own: ``python -m workflows.isolated``.

It reads what to do from stdin, a line of JSON, and writes what it came to on stdout: a line that
begins with ``+`` and goes on with the output's canonical JSON, or with ``-`` and a failure. What
the task itself prints goes to stderr. ``workflows/handlers/isolation.py`` is the other side.
"""

import asyncio
import ctypes
import json
import os
import signal
import sys
import threading
from datetime import datetime
from typing import Any, BinaryIO
from uuid import UUID

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main() -> None:
    """Do it, and end the process, whatever threads the task has left behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    # Children of the task must have neither: the one would stay open, the other be written into.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    request = json.loads(requests.readline())
    threading.Thread(target=_die_with_worker, args=(requests,), daemon=True).start()
    answers.write(_answer(request))
    answers.flush()
    sys.stderr.flush()
    os._exit(0)


def _die_with_worker(requests: BinaryIO) -> None:
    """End this process and its children when the worker is gone, which closes the pipe."""
    requests.read()
    os.killpg(0, signal.SIGKILL)


def _answer(request: dict[str, Any]) -> bytes:
    import django

    django.setup()
    from workflows.core.outcomes import Completed, Failed
    from workflows.engine.bodies import run_body

    _limit_memory(request["memory_mb"])
    outcome = asyncio.run(run_body(_context(request["context"])))
    if isinstance(outcome, Completed):
        return f"+{outcome.text}\n".encode()
    assert isinstance(outcome, Failed)
    failure = [outcome.code, outcome.message, outcome.is_final]
    return f"-{json.dumps(failure)}\n".encode()


def _limit_memory(megabytes: int) -> None:
    if megabytes and sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


def _context(given: dict[str, Any]) -> Any:
    from workflows.core.names import STORED
    from workflows.core.steps import TaskStep
    from workflows.handlers import StepContext

    for key in ("step_execution_id", "execution_id", "workflow_id", "workspace_id", "project_id"):
        given[key] = given[key] and UUID(given[key])
    if given["revised_at"]:
        given["revised_at"] = datetime.fromisoformat(given["revised_at"])
    given["step"] = TaskStep.model_validate(given["step"], context=STORED)
    return StepContext(**given)


if __name__ == "__main__":
    main()
