"""A definition made ready to run: what the engine keeps for each version and asks at every step."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from workflows.core.definition import (
    DEFAULT_LIMITS,
    AnyStep,
    ApprovalStep,
    Limits,
    WorkflowDefinition,
)
from workflows.core.errors import DefinitionError, ExpressionError, Problem, json_pointer
from workflows.core.expressions import Expression, compile_expression
from workflows.core.graph import Graph
from workflows.core.references import Compiled, compile_value
from workflows.core.scope import Names
from workflows.core.structure import build_graph, nodes_of, structural_errors


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """A step with its references and its condition read.

    Attributes:
        step: the definition's own step.
        inputs: `config.inputs`.
        condition: `condition_expression`, if there is one.
        title, description: the texts of an approval; the title is the step's name where none is
            given.
        needs: the steps whose output any of these use.
        max_retries: the step's own number, or else the workflow's.
    """

    step: AnyStep
    inputs: Compiled
    condition: Expression | None
    title: Compiled | None
    description: Compiled | None
    needs: frozenset[str]
    max_retries: int


@dataclass(frozen=True, slots=True)
class CompiledDefinition:
    """A definition that can run. It never changes, and threads may share it.

    Attributes:
        definition: what it was made from.
        graph: the order of its steps.
        steps: by name, in the order of the definition.
        consumers: for each step, the steps that use its output.
    """

    definition: WorkflowDefinition
    graph: Graph
    steps: Mapping[str, CompiledStep]
    consumers: Mapping[str, frozenset[str]]


def compile_definition(
    definition: WorkflowDefinition, limits: Limits = DEFAULT_LIMITS
) -> CompiledDefinition:
    """Make a definition ready to run.

    That references name ancestors only is `validation.validate`'s to check, once, at save.

    Raises:
        DefinitionError: with everything that keeps it from running.
    """
    nodes = nodes_of(definition.steps)
    if errors := structural_errors(nodes):
        raise DefinitionError(errors)
    every = frozenset(node.name for node in nodes)
    variables = frozenset(variable.name for variable in definition.variables)
    names = Names(variables=variables, steps=every, all_steps=every)
    steps, consumers = {}, {name: set[str]() for name in every}
    for index, step in enumerate(definition.steps):
        reading = StepReading(index, step, names, limits)
        steps[step.name] = reading.result(definition.retries_of(step))
        errors.extend(reading.errors)
        for needed in steps[step.name].needs:
            consumers[needed].add(step.name)
    if errors:
        raise DefinitionError(errors)
    return CompiledDefinition(
        definition=definition,
        graph=build_graph(nodes),
        steps=MappingProxyType(steps),
        consumers=MappingProxyType({name: frozenset(users) for name, users in consumers.items()}),
    )


class StepReading:
    """The reading of one step's references, with all that is wrong or doubtful about them."""

    def __init__(self, index: int, step: AnyStep, names: Names, limits: Limits) -> None:
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self._index = index
        self._step = step
        self._names = names
        self._limits = limits
        self._condition = self._read_condition()
        self._inputs = self._read(dict(step.config.inputs), "config", "inputs")
        self._title = self._description = None
        if isinstance(step, ApprovalStep):
            approval = step.config.approval
            # A name is no template: `${` in it means nothing.
            title = approval.title or step.name.replace("${", "$${")
            place = ("config", "approval")
            self._title = self._read(title, *place, "title", as_text=True)
            self._description = self._read(
                approval.description, *place, "description", as_text=True
            )

    def result(self, max_retries: int) -> CompiledStep:
        """Return the compiled step, which can be used where there are no errors."""
        parts = (self._inputs, self._condition, self._title, self._description)
        needs = frozenset[str]().union(*(part.steps for part in parts if part))
        return CompiledStep(
            step=self._step,
            inputs=self._inputs,
            condition=self._condition,
            title=self._title,
            description=self._description,
            needs=needs,
            max_retries=max_retries,
        )

    def _read(self, value: object, *place: str, as_text: bool = False) -> Compiled:
        longest = self._limits.expression_characters
        compiled = compile_value(
            value, self._names, max_characters=longest, collect=True, as_text=as_text
        )
        for finding in compiled.errors:
            self._note(self.errors, finding.error, finding.error.reason, *place, *finding.path)
        for finding in compiled.doubts:
            self._note(self.warnings, finding.error, finding.error.reason, *place, *finding.path)
        return compiled

    def _read_condition(self) -> Expression | None:
        source = self._step.condition_expression
        if source is None:
            return None
        try:
            longest = self._limits.expression_characters
            condition = compile_expression(source, self._names, max_characters=longest)
        except ExpressionError as error:
            self._note(self.errors, error, error.reason, "condition_expression")
            return None
        doubt = condition.doubt
        if condition.returns not in ("BOOL", "DYN"):
            doubt = f"The condition is neither true nor false; it is of type {condition.returns}"
        if doubt:
            self._note(
                self.warnings, ExpressionError(doubt), "type_mismatch", "condition_expression"
            )
        return condition

    def _note(
        self, notes: list[Problem], error: ExpressionError, error_type: str, *place: str | int
    ) -> None:
        where = "" if error.position is None else f" (at character {error.position + 1})"
        path = json_pointer(("steps", self._index, *place))
        notes.append(Problem(self._step.name, error_type, f"{error.message}{where}", path))
