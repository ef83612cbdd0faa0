"""A definition made ready to run: what the engine keeps for each version and asks at every step."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from workflows.core.definition import DEFAULT_LIMITS, Limits, WorkflowDefinition
from workflows.core.errors import DefinitionError, ExpressionError, Problem, json_pointer
from workflows.core.expressions import Expression, compile_expression
from workflows.core.graph import Graph
from workflows.core.references import Compiled, compile_value
from workflows.core.scope import Names
from workflows.core.steps import (
    AnyBlock,
    AnyStep,
    ApprovalStep,
    ConditionStep,
    SequentialStep,
    WaitStep,
)
from workflows.core.structure import build_graphs, nodes_of, structural_errors

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """A step with its references and its condition read.

    Attributes:
        step: the definition's own step.
        inputs: `config.inputs`.
        condition: `condition_expression`, if there is one.
        title, description: the texts of an approval; the title is the step's name where none is
            given.
        settings: what a step of type `wait` waits for.
        for_each, repeat_until: those of a block.
        needs: the steps whose output any of these use.
        max_retries: the step's own number, or else the workflow's.
    """

    step: AnyStep
    inputs: Compiled
    condition: Expression | None
    title: Compiled | None
    description: Compiled | None
    settings: Compiled | None
    for_each: Compiled | None
    repeat_until: Expression | None
    needs: frozenset[str]
    max_retries: int


@dataclass(frozen=True, slots=True)
class CompiledDefinition:
    """A definition that can run. It never changes, and threads may share it.

    Attributes:
        definition: what it was made from.
        steps: by name, those inside blocks too.
        graphs: the order of the steps of each block, by its name; that of the top under "".
        blocks: the block that each step stands in, "" at the top.
        in_turn: the steps that wait for the one before them only because their block runs one
            after the other.
    """

    definition: WorkflowDefinition
    steps: Mapping[str, CompiledStep]
    graphs: Mapping[str, Graph]
    blocks: Mapping[str, str]
    in_turn: frozenset[str]

    @property
    def graph(self) -> Graph:
        """The order of the steps at the top."""
        return self.graphs[""]


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
    names = Names(variables=variables, steps=every, all_steps=every, has_item=True)
    steps = {}
    for place, step in places_of(definition.steps):
        reading = StepReading(place, step, names, limits)
        steps[step.name] = reading.result(definition.retries_of(step))
        errors.extend(reading.errors)
    if errors:
        raise DefinitionError(errors)
    return CompiledDefinition(
        definition=definition,
        steps=MappingProxyType(steps),
        graphs=MappingProxyType(build_graphs(nodes)),
        blocks=MappingProxyType({node.name: node.block for node in nodes}),
        in_turn=frozenset(node.name for node in nodes if node.is_in_turn),
    )


def places_of(steps: Iterable[AnyStep], at: Place = ("steps",)) -> Iterator[tuple[Place, AnyStep]]:
    """Yield steps and those inside them, each with the keys that lead to it in the document."""
    for index, step in enumerate(steps):
        yield (*at, index), step
        if isinstance(step, AnyBlock):
            yield from places_of(step.config.steps, (*at, index, "config", "steps"))


class StepReading:
    """The reading of one step's references, with all that is wrong or doubtful about them.

    `names` are what it may name, and `inside` what the `repeat_until` of a block may.
    """

    def __init__(
        self,
        place: Place,
        step: AnyStep,
        names: Names,
        limits: Limits,
        inside: Names | None = None,
    ) -> None:
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self._place = place
        self._step = step
        self._names = names
        self._limits = limits
        self._condition = self._expression(
            step.condition_expression, names, "condition_expression", is_value=_has_branches(step)
        )
        self._inputs = self._read(dict(step.config.inputs), "config", "inputs")
        self._title: Compiled | None = None
        self._description: Compiled | None = None
        self._settings: Compiled | None = None
        self._for_each: Compiled | None = None
        self._repeat_until: Expression | None = None
        if isinstance(step, ApprovalStep):
            self._read_approval(step)
        elif isinstance(step, WaitStep):
            config = step.config
            given = {"seconds": config.seconds, "until": config.until, "event": config.event}
            waits_for = {key: value for key, value in given.items() if value is not None}
            self._settings = self._read(waits_for, "config")
        elif isinstance(step, AnyBlock):
            if step.config.for_each is not None:
                self._for_each = self._read(step.config.for_each, "config", "for_each")
            if isinstance(step, SequentialStep):
                self._repeat_until = self._expression(
                    step.config.repeat_until, inside or names, "config", "repeat_until"
                )

    def result(self, max_retries: int) -> CompiledStep:
        """Return the compiled step, which can be used where there are no errors."""
        parts = (
            self._inputs,
            self._condition,
            self._title,
            self._description,
            self._settings,
            self._for_each,
            self._repeat_until,
        )
        needs = frozenset[str]().union(*(part.steps for part in parts if part))
        return CompiledStep(
            step=self._step,
            inputs=self._inputs,
            condition=self._condition,
            title=self._title,
            description=self._description,
            settings=self._settings,
            for_each=self._for_each,
            repeat_until=self._repeat_until,
            needs=needs,
            max_retries=max_retries,
        )

    def _read_approval(self, step: ApprovalStep) -> None:
        approval = step.config.approval
        # A name is no template: `${` in it means nothing.
        title = approval.title or step.name.replace("${", "$${")
        place = ("config", "approval")
        self._title = self._read(title, *place, "title", as_text=True)
        self._description = self._read(approval.description, *place, "description", as_text=True)

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

    def _expression(
        self, source: str | None, names: Names, *place: str, is_value: bool = False
    ) -> Expression | None:
        """Read a condition; with `is_value` an expression of any type."""
        if source is None:
            return None
        try:
            longest = self._limits.expression_characters
            expression = compile_expression(source, names, max_characters=longest)
        except ExpressionError as error:
            for each in error.every:
                self._note(self.errors, each, each.reason, *place)
            return None
        doubt = expression.doubt
        if not is_value and expression.returns not in ("BOOL", "DYN"):
            doubt = f"The condition is neither true nor false; it is of type {expression.returns}"
        if doubt:
            self._note(self.warnings, ExpressionError(doubt), "type_mismatch", *place)
        return expression

    def _note(
        self, notes: list[Problem], error: ExpressionError, error_type: str, *place: str | int
    ) -> None:
        where = "" if error.position is None else f" (at character {error.position + 1})"
        path = json_pointer((*self._place, *place))
        notes.append(Problem(self._step.name, error_type, f"{error.message}{where}", path))


def _has_branches(step: AnyStep) -> bool:
    return isinstance(step, ConditionStep) and step.config.has_branches
