"""Everything that is checked when a definition is saved, told all at once."""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workflows.core.compiled import CompiledDefinition, StepReading, compile_definition
from workflows.core.definition import (
    DEFAULT_LIMITS,
    AgentStep,
    AnyStep,
    ApprovalStep,
    Limits,
    TaskStep,
    WorkflowDefinition,
    find_unreadable,
    read_fields,
)
from workflows.core.errors import DefinitionError, Problem, json_pointer
from workflows.core.graph import Graph
from workflows.core.scope import Names
from workflows.core.structure import (
    Node,
    build_graph,
    nodes_of,
    structural_errors,
    structural_warnings,
)

__all__ = ["CompiledDefinition", "Context", "Report", "compile_definition", "validate"]

Known = Callable[[frozenset[str]], Container[str]]

_step_reader: TypeAdapter[AnyStep] = TypeAdapter(AnyStep)


@dataclass(frozen=True, slots=True)
class Context:
    """What the place where a definition is saved knows; what it does not ask is not checked.

    Each `known_…` is called at most once, with all the names that occur, and returns those that
    exist (and may be used by whoever saves).

    Attributes:
        known_tasks: names of registered callables.
        known_agents: ids or slugs of agent definitions.
        known_agent_instances: ids of agent instances.
        known_approvers: entries of `required_approvers`, `group:` and `role:` ones included.
        allows_auto_approval: whether a gate that names approvers may approve itself.
    """

    known_tasks: Known | None = None
    known_agents: Known | None = None
    known_agent_instances: Known | None = None
    known_approvers: Known | None = None
    allows_auto_approval: bool = True


NO_CONTEXT = Context()


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. `definition` is there where the shapes are right, also beside errors."""

    definition: WorkflowDefinition | None
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        """Whether the definition can be saved."""
        return not self.errors


def validate(
    document: Any, context: Context = NO_CONTEXT, limits: Limits = DEFAULT_LIMITS
) -> Report:
    """Check a definition's document; nothing is raised for what stands in it."""
    if problem := find_unreadable(document, limits):
        return Report(None, [problem])
    definition, errors = None, []
    try:
        definition = read_fields(document)
    except DefinitionError as error:
        errors = error.errors
    given = definition.steps if definition else _list_in(document, "steps")
    nodes = nodes_of(given)
    steps = list(enumerate(definition.steps)) if definition else _well_shaped(given)
    broken = structural_errors(nodes)
    references = _References(document, nodes, None if broken else build_graph(nodes))
    reading_errors, warnings = references.check(steps, limits)
    errors = [*errors, *broken, *_repeated_variables(document), *reading_errors]
    errors += _unregistered(steps, context)
    for index, step in steps:
        if problem := _self_approving(index, step, context):
            (warnings if context.allows_auto_approval else errors).append(problem)
    return Report(definition, errors, [*structural_warnings(nodes), *warnings])


_Steps = list[tuple[int, AnyStep]]


def _list_in(document: dict[str, Any], key: str) -> Sequence[Any]:
    value = document.get(key)
    return value if isinstance(value, list | tuple) else ()


def _well_shaped(given: Sequence[Any]) -> _Steps:
    steps = []
    for index, step in enumerate(given):
        try:
            steps.append((index, _step_reader.validate_python(step)))
        except ValidationError:
            continue
    return steps


class _References:
    """The names of a document, and with them the check of what its steps refer to."""

    def __init__(self, document: dict[str, Any], nodes: list[Node], graph: Graph | None) -> None:
        self._variables = frozenset(_variable_names(document))
        self._all_steps = frozenset(node.name for node in nodes)
        self._graph = graph

    def check(self, steps: _Steps, limits: Limits) -> tuple[list[Problem], list[Problem]]:
        errors: list[Problem] = []
        warnings: list[Problem] = []
        for index, step in steps:
            reading = StepReading(index, step, self._names_at(step.name), limits)
            errors += reading.errors
            warnings += reading.warnings
        return errors, warnings

    def _names_at(self, step: str) -> Names:
        # Without a graph nobody can say who comes before whom; the cycle is reported anyway.
        ancestors = self._all_steps if self._graph is None else _Ancestors(self._graph, step)
        return Names(variables=self._variables, steps=ancestors, all_steps=self._all_steps)


class _Ancestors(Container[str]):
    """The ancestors of a step, asked one by one: a set for each of 5,000 steps is too much."""

    def __init__(self, graph: Graph, step: str) -> None:
        self._graph = graph
        self._step = step

    def __contains__(self, name: object) -> bool:
        return name in self._graph and self._graph.is_ancestor(str(name), self._step)


def _variable_names(document: dict[str, Any]) -> Iterable[str]:
    for variable in _list_in(document, "variables"):
        name = variable.get("name") if isinstance(variable, dict) else None
        if isinstance(name, str) and name.isascii() and name.isidentifier():
            yield name


def _repeated_variables(document: dict[str, Any]) -> Iterable[Problem]:
    seen = set()
    for index, variable in enumerate(_list_in(document, "variables")):
        name = variable.get("name") if isinstance(variable, dict) else None
        if isinstance(name, str) and name in seen:
            path = json_pointer(("variables", index, "name"))
            yield Problem("", "duplicate_name", f"The variable '{name}' is declared twice", path)
        elif isinstance(name, str):
            seen.add(name)


@dataclass(frozen=True, slots=True)
class _Mention:
    """A name in a step that somebody else must know."""

    name: str
    step: str
    path: str


def _unregistered(steps: _Steps, context: Context) -> Iterable[Problem]:
    kinds: list[tuple[str, str, Known | None, list[_Mention]]] = [
        ("unknown_task", "no task '{}' is registered", context.known_tasks, []),
        ("unknown_agent", "there is no agent '{}'", context.known_agents, []),
        ("unknown_agent", "there is no agent instance '{}'", context.known_agent_instances, []),
        ("unknown_approver", "'{}' cannot approve here", context.known_approvers, []),
    ]
    tasks, agents, instances, approvers = (kind[3] for kind in kinds)
    for index, step in steps:
        at = _pointer_in(index)
        if isinstance(step, TaskStep):
            tasks.append(_Mention(step.config.task, step.name, at("config", "task")))
        elif isinstance(step, AgentStep):
            if step.agent_definition_id:
                path = at("agent_definition_id")
                agents.append(_Mention(step.agent_definition_id, step.name, path))
            if step.agent_instance_id:
                path = at("agent_instance_id")
                instances.append(_Mention(step.agent_instance_id, step.name, path))
        elif isinstance(step, ApprovalStep):
            for place, name in enumerate(step.config.approval.required_approvers):
                path = at("config", "approval", "required_approvers", place)
                approvers.append(_Mention(name, step.name, path))
    for error_type, sentence, known_of, mentions in kinds:
        if known_of is None or not mentions:
            continue
        known = known_of(frozenset(mention.name for mention in mentions))
        for mention in mentions:
            if mention.name not in known:
                message = f"In the step '{mention.step}', {sentence.format(mention.name)}"
                yield Problem(mention.step, error_type, message, mention.path)


def _self_approving(index: int, step: AnyStep, context: Context) -> Problem | None:
    if not isinstance(step, ApprovalStep):
        return None
    approval = step.config.approval
    if approval.auto_approve_after_seconds is None or not approval.required_approvers:
        return None
    path = _pointer_in(index)("config", "approval", "auto_approve_after_seconds")
    seconds = approval.auto_approve_after_seconds
    if context.allows_auto_approval:
        message = f"The step '{step.name}' approves itself after {seconds} s, without its approvers"
        return Problem(step.name, "auto_approve_with_approvers", message, path)
    message = f"The step '{step.name}' names approvers; here it may not approve itself"
    return Problem(step.name, "auto_approve_forbidden", message, path)


def _pointer_in(index: int) -> Callable[..., str]:
    return lambda *parts: json_pointer(("steps", index, *parts))
