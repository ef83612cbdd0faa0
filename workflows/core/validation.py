"""Everything that is checked when a definition is saved, told all at once."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workflows.core.compiled import (
    CompiledDefinition,
    Place,
    compile_definition,
    places_of,
)
from workflows.core.definition import (
    DEFAULT_LIMITS,
    Limits,
    WorkflowDefinition,
    find_unreadable,
    read_fields,
)
from workflows.core.errors import DefinitionError, Problem, json_pointer
from workflows.core.gates import people_named, problems_of_gate, self_approvals
from workflows.core.graph import Graph
from workflows.core.names import fold_name
from workflows.core.partial import PartialReading, list_in
from workflows.core.reach import References
from workflows.core.rounds import Rounds
from workflows.core.steps import (
    AgentStep,
    AnyStep,
    ApprovalStep,
    ConditionStep,
    SubWorkflowStep,
    TaskStep,
    WaitStep,
)
from workflows.core.structure import (
    Node,
    build_graphs,
    nodes_of,
    settled,
    structural_errors,
    structural_warnings,
)
from workflows.core.waits import problems_of_wait

__all__ = [
    "CompiledDefinition",
    "Context",
    "Report",
    "compile_definition",
    "validate",
    "without_step",
]

Known = Callable[[frozenset[str]], Container[str]]
#: Name and inputs of a task → what is wrong: (where in the inputs, type, message).
TaskProblems = Callable[[str, Mapping[str, Any]], Iterable[tuple[Place, str, str]]]
#: JSON Schema of a form → what is wrong, with paths that begin at the schema.
FormProblems = Callable[[Mapping[str, Any]], Iterable[Problem]]

_Steps = list[tuple[Place, AnyStep]]


@dataclass(frozen=True, slots=True)
class Context:
    """What the place where a definition is saved knows; what it does not ask is not checked.

    Each `known_…` is called at most once, with all the names that occur, and returns those that
    exist (and may be used by whoever saves).

    Attributes:
        known_tasks: names of registered callables.
        known_agents: ids or slugs of agent definitions.
        known_agent_instances: ids of agent instances.
        known_workflows: ids or names of workflows.
        known_approvers: entries of `required_approvers`, of policies and of `escalate_to`.
        task_problems: what is wrong with the inputs of a task.
        form_problems: what is wrong with the form of a gate.
        allows_auto_approval: whether a gate that names approvers may approve itself.
    """

    known_tasks: Known | None = None
    known_agents: Known | None = None
    known_agent_instances: Known | None = None
    known_approvers: Known | None = None
    known_workflows: Known | None = None
    task_problems: TaskProblems | None = None
    form_problems: FormProblems | None = None
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
    try:
        definition = read_fields(document, is_stored=False)
    except DefinitionError as error:
        return _partial_report(document, error.errors, context, limits)
    nodes, steps = nodes_of(definition.steps), list(places_of(definition.steps))
    found = _check(document, nodes, steps, context, limits)
    return Report(definition, found.errors, [*structural_warnings(nodes), *found.warnings])


def without_step(problem: Problem) -> Problem:
    """Return what was found in a step as it is told where nobody sees a step."""
    begins = f"In the step '{problem.step_name}'"
    message = problem.message.removeprefix(f"{begins}, ").removeprefix(f"{begins}: ")
    return replace(problem, step_name="", message=message)


def _partial_report(
    document: dict[str, Any], errors: list[Problem], context: Context, limits: Limits
) -> Report:
    """Report on a document of which something cannot be read, and on all the rest of it."""
    partial = PartialReading(document, errors)
    nodes = nodes_of(list_in(document, "steps"))
    found = _check(document, nodes, partial.steps, context, limits, partial)
    told = [*errors, *partial.problems, *partial.told(found.errors)]
    return Report(None, told, [*structural_warnings(nodes), *partial.told(found.warnings)])


def _check(
    document: dict[str, Any],
    nodes: list[Node],
    steps: _Steps,
    context: Context,
    limits: Limits,
    partial: PartialReading | None = None,
) -> Report:
    """Check what the parts of a definition say about one another, and about what there is."""
    broken = structural_errors(nodes)
    unknown = _waiting_for_unknown(nodes, partial) if partial else []
    graphs = build_graphs(settled(nodes, unknown) if broken or unknown else nodes)
    rounds = Rounds(nodes, (step for _, step in steps))
    references = References(document, rounds, graphs)
    reading_errors, warnings = references.check(steps, limits)
    errors = [*broken, *rounds.mistaken_names(nodes)]
    errors += [*_repeated_variables(document), *reading_errors]
    errors += _unregistered(steps, context)
    errors += _unusable_inputs(steps, context)
    errors += _unreadable_waits(steps)
    errors += _misplaced_branches(steps, nodes)
    errors += _wrong_fallbacks(steps)
    errors += _wrong_gates(steps, nodes, graphs, context, partial)
    for place, step in steps:
        problems = _self_approving(place, step, context)
        (warnings if context.allows_auto_approval else errors).extend(problems)
        warnings += _without_effect(place, step)
    return Report(None, errors, warnings)


def _waiting_for_unknown(nodes: list[Node], partial: PartialReading) -> list[str]:
    return [node.name for node in nodes if "depends_on_steps" in partial.unread(node.place)]


def _repeated_variables(document: dict[str, Any]) -> Iterable[Problem]:
    seen: dict[str, str] = {}
    for index, variable in enumerate(list_in(document, "variables")):
        name = variable.get("name") if isinstance(variable, dict) else None
        if not isinstance(name, str):
            continue
        folded = fold_name(name)
        if (first := seen.get(folded)) is None:
            seen[folded] = name
        else:
            alike = "is declared twice" if first == name else f"reads like '{first}'"
            path = json_pointer(("variables", index, "name"))
            yield Problem("", "duplicate_name", f"The variable '{name}' {alike}", path)


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
        ("unknown_workflow", "there is no workflow '{}'", context.known_workflows, []),
    ]
    tasks, agents, instances, approvers, workflows = (kind[3] for kind in kinds)
    for place, step in steps:
        at = _pointer_in(place)
        if isinstance(step, TaskStep):
            tasks.append(_Mention(step.config.task, step.name, at("config", "task")))
        elif isinstance(step, AgentStep):
            if step.agent_definition_id:
                path = at("agent_definition_id")
                agents.append(_Mention(step.agent_definition_id, step.name, path))
            if step.agent_instance_id:
                path = at("agent_instance_id")
                instances.append(_Mention(step.agent_instance_id, step.name, path))
            if handoff := step.config.handoff:
                path = at("config", "handoff", "to_agent_id")
                instances.append(_Mention(handoff.to_agent_id, step.name, path))
        elif isinstance(step, ApprovalStep):
            for where, name in people_named(step.config.approval):
                approvers.append(_Mention(name, step.name, at("config", "approval", *where)))
        if isinstance(step, SubWorkflowStep):
            workflows.append(_Mention(step.config.workflow, step.name, at("config", "workflow")))
        if fallback := step.config.fallback:
            if fallback.task:
                tasks.append(_Mention(fallback.task, step.name, at("config", "fallback", "task")))
            if fallback.agent_definition_id:
                path = at("config", "fallback", "agent_definition_id")
                agents.append(_Mention(fallback.agent_definition_id, step.name, path))
    for error_type, sentence, known_of, mentions in kinds:
        if known_of is None or not mentions:
            continue
        known = known_of(frozenset(mention.name for mention in mentions))
        for mention in mentions:
            if mention.name not in known:
                message = f"In the step '{mention.step}', {sentence.format(mention.name)}"
                yield Problem(mention.step, error_type, message, mention.path)


def _unusable_inputs(steps: _Steps, context: Context) -> Iterable[Problem]:
    if context.task_problems is None:
        return
    for place, step in steps:
        if isinstance(step, TaskStep):
            at = _pointer_in(place)
            for where, kind, said in context.task_problems(step.config.task, step.config.inputs):
                message = f"In the step '{step.name}', {said}"
                yield Problem(step.name, kind, message, at("config", "inputs", *where))


def _unreadable_waits(steps: _Steps) -> Iterable[Problem]:
    for place, step in steps:
        if isinstance(step, WaitStep):
            for name, kind, message in problems_of_wait(step):
                yield Problem(step.name, kind, message, _pointer_in(place)("config", name))


def _misplaced_branches(steps: _Steps, nodes: list[Node]) -> Iterable[Problem]:
    needs = {node.name: node.needs for node in nodes}
    for place, step in steps:
        if not isinstance(step, ConditionStep):
            continue
        branches = [(("branches", key), names) for key, names in step.config.branches.items()]
        for key, names in [*branches, (("default",), step.config.default)]:
            for position, name in enumerate(names):
                # Nobody can wait for a step without a name, which is told of that.
                is_behind = not step.name or step.name in needs.get(name, ())
                if name not in needs or not is_behind:
                    path = _pointer_in(place)("config", *key, position)
                    message = (
                        f"'{name}' is in a branch of '{step.name}', so it has to depend on it"
                        if name in needs
                        else f"There is no step '{name}'"
                    )
                    yield Problem(step.name, "unknown_branch_step", message, path)


def _wrong_fallbacks(steps: _Steps) -> Iterable[Problem]:
    for place, step in steps:
        fallback = step.config.fallback
        if fallback is None:
            continue
        if not isinstance(step, TaskStep | AgentStep | SubWorkflowStep):
            message = f"A step of type {step.step_type} has no fallback"
            yield Problem(
                step.name, "not_supported", message, _pointer_in(place)("config", "fallback")
            )
        own_task = step.config.task if isinstance(step, TaskStep) else None
        own_agent = step.agent_definition_id if isinstance(step, AgentStep) else None
        for key, own, other in (
            ("task", own_task, fallback.task),
            ("agent_definition_id", own_agent, fallback.agent_definition_id),
        ):
            if other is not None and other == own:
                message = f"The step '{step.name}' falls back to itself: '{own}'"
                path = _pointer_in(place)("config", "fallback", key)
                yield Problem(step.name, "fallback_cycle", message, path)


def _wrong_gates(
    steps: _Steps,
    nodes: list[Node],
    graphs: Mapping[str, Graph],
    context: Context,
    partial: PartialReading | None,
) -> Iterable[Problem]:
    needs = {node.name: node.needs for node in nodes}
    blocks = {node.name: node.block for node in nodes}
    for place, step in steps:
        if not isinstance(step, ApprovalStep):
            continue
        here = (*place, "config", "approval")
        at, unread = _pointer_in(here), partial.unread(here) if partial else frozenset()
        for where, kind, message in problems_of_gate(step, needs, blocks, graphs, unread):
            yield Problem(step.name, kind, f"In the step '{step.name}': {message}", at(*where))
        form = step.config.approval.form_schema
        if form is not None and context.form_problems is not None:
            for problem in context.form_problems(form):
                path = at("form_schema") + problem.path
                yield replace(problem, step_name=step.name, path=path)


def _self_approving(place: Place, step: AnyStep, context: Context) -> Iterable[Problem]:
    if not isinstance(step, ApprovalStep):
        return
    for field_name, when in self_approvals(step.config.approval):
        path = _pointer_in(place)("config", "approval", field_name)
        if context.allows_auto_approval:
            message = f"The step '{step.name}' approves itself {when}, without its approvers"
            yield Problem(step.name, "auto_approve_with_approvers", message, path)
        else:
            message = f"The step '{step.name}' names approvers; here it may not approve itself"
            yield Problem(step.name, "auto_approve_forbidden", message, path)


def _without_effect(place: Place, step: AnyStep) -> Iterable[Problem]:
    if isinstance(step, ApprovalStep) and step.timeout_seconds is not None:
        end = step.config.approval.expires_after_seconds
        message = (
            f"The timeout_seconds of '{step.name}' have no effect: a gate waits until its"
            f" expires_after_seconds are over, {end} s"
        )
        yield Problem(step.name, "no_effect", message, _pointer_in(place)("timeout_seconds"))


def _pointer_in(place: Place) -> Callable[..., str]:
    return lambda *parts: json_pointer((*place, *parts))
