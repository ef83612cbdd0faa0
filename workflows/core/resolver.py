"""The order of a workflow, asked of a plain definition, without a database.

`steps` is everywhere a list of steps (or a whole definition), as the document has them. The
answers are names, and steps that tie stand in their `step_order`. A block is one step here; its
own steps are asked for with its `config.steps`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from workflows.core.definition import WorkflowDefinition
from workflows.core.errors import DefinitionError
from workflows.core.graph import Graph
from workflows.core.steps import Step
from workflows.core.structure import Node, build_graph, nodes_of, structural_errors
from workflows.core.validation import Report, validate

Steps = Sequence[Step | Mapping[str, Any]] | Mapping[str, Any] | WorkflowDefinition


def resolve_execution_order(steps: Steps) -> list[list[str]]:
    """Return the levels of the graph: each step stands in the first level in which it could run.

    Raises:
        DefinitionError: names are used twice or do not exist, or steps wait for one another.
    """
    return [list(level) for level in _graph(steps).levels]


def get_parallel_execution_groups(steps: Steps) -> list[list[str]]:
    """Return the groups of steps that can run side by side, which are the levels of the graph.

    Raises:
        DefinitionError: as `resolve_execution_order`.
    """
    return resolve_execution_order(steps)


def get_topological_order(steps: Steps) -> list[str]:
    """Return all steps, each one after what it depends on.

    Raises:
        DefinitionError: as `resolve_execution_order`.
    """
    return list(_graph(steps).order)


def can_execute_step_now(
    step: Step | Mapping[str, Any], completed: Collection[str], running: Collection[str]
) -> bool:
    """Tell whether a step has not begun and all that it depends on is completed.

    Raises:
        ValueError: it is not shaped like a step.
    """
    nodes = nodes_of([step])
    if not nodes:
        raise ValueError("That is no step: it has no name")
    node = nodes[0]  # after it come those inside it, if it is a block
    return _is_ready(node, set(completed), set(running))


def get_next_executable_steps(
    steps: Steps, completed: Collection[str], running: Collection[str]
) -> list[str]:
    """Return the steps that can start now.

    Raises:
        DefinitionError: as `resolve_execution_order`.
    """
    done, begun = set(completed), set(running)
    nodes = {node.name: node for node in _nodes(steps)}
    return [name for name in _graph(steps).order if _is_ready(nodes[name], done, begun)]


def validate_workflow(definition: Any) -> Report:
    """Check a definition: `is_valid`, `errors` and `warnings`, each with its step and its path.

    A bare list of steps declares no variables, so what it uses of them is only a warning.
    """
    if isinstance(definition, WorkflowDefinition):
        return validate(definition.model_dump(mode="json"))
    if not isinstance(definition, list | tuple):
        return validate(definition)
    report = validate({"name": "workflow", "steps": list(definition)})
    errors = [p for p in report.errors if p.error_type != "undeclared_variable"]
    undeclared = [p for p in report.errors if p.error_type == "undeclared_variable"]
    return Report(report.definition, errors, [*report.warnings, *undeclared])


def _is_ready(node: Node, completed: set[str], running: set[str]) -> bool:
    return (
        node.name not in completed and node.name not in running and completed.issuperset(node.needs)
    )


def _nodes(steps: Steps) -> list[Node]:
    if isinstance(steps, WorkflowDefinition):
        return nodes_of(steps.steps)
    return nodes_of(steps.get("steps", ()) if isinstance(steps, Mapping) else steps)


def _graph(steps: Steps) -> Graph:
    nodes = _nodes(steps)
    if errors := structural_errors(nodes):
        raise DefinitionError(errors)
    return build_graph(node for node in nodes if not node.block)
