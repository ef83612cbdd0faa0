"""What references and expressions can name: at save (`Names`), and in a run (`Scope`)."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from workflows.core.errors import ExpressionError

EXECUTION_FIELDS = ("id", "started_by")
REVISION_FIELDS = ("number", "feedback", "previous")

ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Names:
    """What may be named from where an expression stands.

    Attributes:
        variables: the declared variables.
        steps: the steps whose output may be used, which are the ancestors.
        all_steps: every step of the definition, to tell a typo from a step that comes too late.
        has_item: whether `item` means something here, and with it `index`.
        has_index: whether at least `index` does.
    """

    variables: frozenset[str] = frozenset()
    steps: Container[str] = frozenset()
    all_steps: Container[str] = frozenset()
    has_item: bool = False
    has_index: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """The values of one run, as they are: what is read from them is not copied.

    Attributes:
        variables: every declared variable with its value.
        steps: the whole outputs, by the names of the steps. A step without output is left out.
        execution: `id`, `started_by`.
        revision: `number` (from 1), `feedback` ("" at first), `previous` (the step's own output
            before that, None at first).
        item, index: where a block is mapped over a list.
    """

    variables: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, Any] = field(default_factory=dict)
    execution: Mapping[str, Any] = field(default_factory=dict)
    revision: Mapping[str, Any] = field(default_factory=dict)
    item: Any = ABSENT
    index: Any = ABSENT


def step_record(output: Any) -> dict[str, Any]:
    """Return what `steps.NAME` means: `result`, the step's whole output, and the output's keys.

    An output's own key `result` wins, so `steps.NAME.result` is that key where there is one.
    """
    return {"result": output, **output} if isinstance(output, dict) else {"result": output}


def value_at(scope: Scope, root: str, keys: tuple[str | int, ...]) -> Any:
    """Return what a path stands for: `steps`, (`plan`, `result`, `title`).

    Raises:
        ExpressionError: there is no such value in this run.
    """
    depth = 1
    if root == "steps":
        value = _step_value(scope, keys)
        depth = 2
    elif root == "variables":
        value = _variable(scope, keys[0])
    elif root in ("execution", "revision"):
        value = scope.execution if root == "execution" else scope.revision
        depth = 0
    elif root in ("item", "index"):
        value = scope.item if root == "item" else scope.index
        depth = 0
        if value is ABSENT:
            raise ExpressionError(f"'{root}' has no value outside a mapped block")
    else:
        value = _variable(scope, root)
        depth = 0
    for key in keys[depth:]:
        value = _child(value, key, root, keys)
    return value


def _variable(scope: Scope, name: str | int) -> Any:
    try:
        return scope.variables[name]  # type: ignore[index]
    except KeyError:
        raise ExpressionError(f"The variable '{name}' has no value") from None


def _step_value(scope: Scope, keys: tuple[str | int, ...]) -> Any:
    try:
        output = scope.steps[keys[0]]  # type: ignore[index]
    except KeyError:
        raise ExpressionError(f"The step '{keys[0]}' has no output") from None
    if len(keys) == 1:
        return step_record(output)
    if isinstance(output, dict) and keys[1] in output:
        return output[keys[1]]
    if keys[1] == "result":
        return output
    return _child(output, keys[1], "steps", keys)


def _child(value: Any, key: str | int, root: str, keys: tuple[str | int, ...]) -> Any:
    if isinstance(value, dict) and isinstance(key, str):
        if key in value:
            return value[key]
        problem = f"there is no key '{key}'"
    elif isinstance(value, list) and isinstance(key, int):
        if key < len(value):
            return value[key]
        problem = f"there are only {len(value)} items, counted from 0"
    elif isinstance(key, int):
        problem = f"{key} counts in a list, and {_kind(value)} is none"
    else:
        problem = f"{_kind(value)} has no key '{key}'"
    path = root + "".join(f"[{part!r}]" for part in keys)
    raise ExpressionError(f"{path} has no value: {problem}")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a bool", int: "an int", float: "a float", str: "a string", list: "a list"}
    return names.get(type(value), "an object")
