"""Tasks: the callables that a workflow may run, by name.

Write them in a module ``workflow_tasks`` of any installed app::

    from workflows.tasks import task

    @task("billing.refund")
    async def refund(order: str, amount: float) -> dict:
        ...

A definition names the task in ``config.task``; ``config.inputs`` are its arguments, checked against
the function's annotations: what is written out when the definition is saved, everything when the
step begins. A workflow can only ever run what is registered here, never a path from the database.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar, get_type_hints

from django.utils.module_loading import autodiscover_modules
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import ErrorDetails, PydanticUndefined

_MOST_PROBLEMS = 20

#: Something wrong with the inputs of a task: where it stands in them, its type, and a sentence.
InputProblem = tuple[tuple[str | int, ...], str, str]

Function = TypeVar("Function", bound=Callable[..., Any])


class TaskFailure(Exception):
    """Raised by a task that wants to choose the error code; ``is_final``: another attempt cannot
    help."""

    def __init__(self, message: str, code: str = "error", *, is_final: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.is_final = is_final


class InvalidInputs(TaskFailure):
    """The inputs of a task are not what its signature asks for; ``problems`` says which."""

    def __init__(self, name: str, problems: list[InputProblem]) -> None:
        said = "; ".join(message for _, _, message in problems)
        super().__init__(f"{name}: {said}", "invalid_inputs", is_final=True)
        self.problems = problems


@dataclass(frozen=True)
class Task:
    """A registered callable. ``takes_context``: it wants the step's context as ``context``."""

    name: str
    function: Callable[..., Any]
    is_async: bool
    takes_context: bool
    signature: inspect.Signature

    def read(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that ``inputs`` stand for, as the annotations say: a text becomes
        the date that the task asks for, but never a number. Raises InvalidInputs."""
        problems = list(islice(self._misplaced(inputs), _MOST_PROBLEMS))
        arguments = {}
        for name, value in inputs.items():
            try:
                arguments[name] = self._read_one(name, value)
            except ValidationError as error:
                problems += [_problem(name, value, detail) for detail in _details(error)]
        if problems:
            raise InvalidInputs(self.name, problems)
        return arguments

    def problems(self, inputs: Mapping[str, Any]) -> list[InputProblem]:
        """Return what is wrong with inputs as a definition gives them.

        What holds a reference has no value yet, and is passed over.
        """
        problems = list(islice(self._misplaced(inputs), _MOST_PROBLEMS))
        for name, value in inputs.items():
            if _has_reference(value):
                continue
            try:
                self._read_one(name, value)
            except ValidationError as error:
                problems += [_problem(name, value, detail) for detail in _details(error)]
        return problems

    def input_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the inputs, as far as the annotations tell."""
        known = [(name, "validation", each) for name, each in self._adapters.items() if each]
        properties: dict[str, Any] = {name: {} for name in self._parameters}
        parts: dict[str, Any] = {}
        try:
            schemas, parts = TypeAdapter.json_schemas(known)  # type: ignore[arg-type]
            properties |= {name: schema for (name, _), schema in schemas.items()}
        except PydanticUserError:
            pass  # a class that JSON Schema has no word for
        needed = [
            name
            for name, parameter in self._parameters.items()
            if parameter.default is inspect.Parameter.empty
        ]
        return {
            "type": "object",
            "properties": properties,
            "required": needed,
            "additionalProperties": self._others is not None,
            **parts,
        }

    def _misplaced(self, inputs: Mapping[str, Any]) -> Iterator[InputProblem]:
        """Yield the inputs that the task does not have, and those that it lacks."""
        parameters = self._parameters
        for name in inputs:
            is_taken = name == "context" and self.takes_context
            if is_taken or (name not in parameters and self._others is None):
                yield (name,), "unknown_input", f"the task has no input '{name[:200]}'"
        for name, parameter in parameters.items():
            if name not in inputs and parameter.default is inspect.Parameter.empty:
                yield (name,), "missing", f"the input '{name}' is missing"

    def _read_one(self, name: str, value: Any) -> Any:
        adapter = self._adapters.get(name) if name in self._parameters else self._other_adapter
        if adapter is None:
            return value
        return adapter.validate_json(json.dumps(value), strict=True)

    @cached_property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        """What can be given by name."""
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return {
            parameter.name: parameter
            for parameter in self.signature.parameters.values()
            if parameter.kind in by_name and parameter.name != "context"
        }

    @cached_property
    def _others(self) -> inspect.Parameter | None:
        """``**others``, if the task takes them."""
        last = list(self.signature.parameters.values())[-1:]
        return last[0] if last and last[0].kind is inspect.Parameter.VAR_KEYWORD else None

    @cached_property
    def _adapters(self) -> dict[str, TypeAdapter[Any] | None]:
        return {name: self._adapter_of(name) for name in self._parameters}

    @cached_property
    def _other_adapter(self) -> TypeAdapter[Any] | None:
        return self._adapter_of(self._others.name) if self._others else None

    @cached_property
    def _annotations(self) -> dict[str, Any]:
        try:
            return get_type_hints(self.function, include_extras=True)
        except Exception:  # an annotation is code, and may name what is only there for a checker
            return {}

    def _adapter_of(self, name: str) -> TypeAdapter[Any] | None:
        """Return what reads a parameter; None where anything will do."""
        annotation = self._annotations.get(name, PydanticUndefined)
        if annotation is PydanticUndefined or annotation is Any or annotation is object:
            return None
        # A number too large for a float would become infinite. A class has a configuration of its
        # own, and takes no other.
        for config in (ConfigDict(allow_inf_nan=False), None):
            try:
                return TypeAdapter(annotation, config=config)
            except PydanticUserError as error:
                if error.code != "type-adapter-config-unused":
                    break
        return None  # a class that JSON has no word for


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


def input_problems(name: str, inputs: Mapping[str, Any]) -> list[InputProblem]:
    """Return what is wrong with the inputs that a definition gives to the task ``name``; nothing
    where there is no such task."""
    known = find_task(name)
    return known.problems(inputs) if known else []


def known_tasks() -> frozenset[str]:
    """Return the names of all tasks."""
    return frozenset(_tasks)


def autodiscover_tasks() -> None:
    """Import ``workflow_tasks`` of every installed app."""
    autodiscover_modules("workflow_tasks")


def _has_reference(value: Any) -> bool:
    """Tell whether any text in a value takes something from the run."""
    if isinstance(value, str):
        return "${" in value or value.startswith(("steps.", "steps["))
    if isinstance(value, dict):
        return any(_has_reference(child) for child in value.values())
    return isinstance(value, list | tuple) and any(_has_reference(child) for child in value)


def _details(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)[:_MOST_PROBLEMS]


def _problem(name: str, value: Any, detail: ErrorDetails) -> InputProblem:
    """Tell one of pydantic's errors, without the value: it may be a secret."""
    place: list[str | int] = []
    rest: Any = value
    for part in detail["loc"]:
        # Where a value may be one of several types, pydantic's path names the types too.
        is_key = isinstance(rest, dict) and part in rest
        if is_key or (isinstance(rest, list) and isinstance(part, int) and part < len(rest)):
            rest = rest[part]
            place.append(part)
    kind = detail["type"]
    where = "".join(f"[{part!r}]" for part in place)
    said = detail["msg"].removeprefix("Input should be ")
    words = f"must be {said}" if said != detail["msg"] else said
    error_type = "wrong_type" if kind.endswith(("_type", "_parsing", "_from_float")) else kind
    return (name, *place), error_type, f"the input '{name}'{where}: {words}"[:500]
