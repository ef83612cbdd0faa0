"""Tasks: the callables that a workflow may run, by name.

Write them in a module ``workflow_tasks`` of any installed app::

    from workflows.tasks import task

    @task("billing.refund")
    async def refund(order: str, amount: float) -> dict:
        ...

A definition names the task in ``config.task``; ``config.inputs`` are its arguments. A workflow
can only ever run what is registered here, never a path from the database.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.utils.module_loading import autodiscover_modules

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Task:
    """A registered callable. ``takes_context``: it wants the step's context as ``context``."""

    name: str
    function: Callable[..., Any]
    is_async: bool
    takes_context: bool
    signature: inspect.Signature


_tasks: dict[str, Task] = {}


def task(name: str) -> Callable[[Function], Function]:
    """Register a function, sync or async, as the task ``name``.

    A parameter called ``context`` is given the step's ``StepContext``; the others come from the
    step's inputs. What it returns must be JSON. An exception with a string attribute ``code``
    fails the attempt with that code, any other one with ``error``.

    Raises ValueError if another function has the name.
    """

    def register(function: Function) -> Function:
        known = _tasks.get(name)
        if known and known.function is not function:
            raise ValueError(f"There are two tasks called {name!r}")
        signature = inspect.signature(function)
        _tasks[name] = Task(
            name=name,
            function=function,
            is_async=inspect.iscoroutinefunction(function),
            takes_context="context" in signature.parameters,
            signature=signature,
        )
        return function

    return register


def find_task(name: str) -> Task | None:
    """Return the task registered as ``name``."""
    return _tasks.get(name)


def known_tasks() -> frozenset[str]:
    """Return the names of all tasks."""
    return frozenset(_tasks)


def autodiscover_tasks() -> None:
    """Import ``workflow_tasks`` of every installed app."""
    autodiscover_modules("workflow_tasks")
