"""A published version as the engine asks it: what follows from its definition alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from workflows.core.compiled import CompiledDefinition
from workflows.core.retry import RetryPolicy
from workflows.core.revisions import maker_of, makers_for
from workflows.core.states import StepStatus
from workflows.core.steps import AnyBlock, AnyStep, ApprovalStep, fallback_step


@dataclass(slots=True)
class Plan:
    """A published version, ready to run: read once a process, shared by its runs.

    ``needs``: the steps whose outputs a step refers to; ``kept``: those that any step refers to,
    or that are the result of the run or of a block. ``fallbacks``: what runs in a step's place
    once its attempts are used up. ``loops``: how many blocks around a step run in rounds.
    """

    compiled: CompiledDefinition
    rules: dict[str, str]
    policies: dict[str, RetryPolicy]
    needs: dict[str, frozenset[str]]
    kept: frozenset[str]
    fallbacks: dict[str, AnyStep]
    loops: dict[str, int]
    _makers: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, compiled: CompiledDefinition) -> "Plan":
        """Derive from a definition what the engine asks at every step."""
        steps = [compiled_step.step for compiled_step in compiled.steps.values()]
        needs = {
            # People are shown what the steps before the gate made, where nothing else is named.
            s.name: frozenset(s.depends_on_steps).union(compiled.steps[s.name].needs)
            if s.step_type == "approval" and not s.config.inputs
            else compiled.steps[s.name].needs
            for s in steps
        }
        nested = (name for name, block in compiled.blocks.items() if block)
        return cls(
            compiled=compiled,
            rules={s.name: s.trigger_rule for s in steps if s.trigger_rule != "all_success"},
            policies={
                s.name: RetryPolicy(
                    max_retries=compiled.definition.retries_of(s),
                    backoff=s.config.retry.backoff,
                    initial_seconds=s.config.retry.initial_seconds,
                    max_seconds=s.config.retry.max_seconds,
                    jitter=s.config.retry.jitter,
                    retry_on=frozenset(s.config.retry.retry_on),
                    no_retry_on=frozenset(s.config.retry.no_retry_on),
                )
                for s in steps
            },
            needs=needs,
            kept=frozenset(compiled.graph.leaves).union(nested, *needs.values()),
            fallbacks={s.name: other for s in steps if (other := fallback_step(s))},
            loops={s.name: _loops_around(compiled, s.name) for s in steps},
        )

    def done_anew_from(self, gate: str, statuses: Mapping[str, StepStatus]) -> str:
        """Return the step from which on the work is done anew that a gate sends back; "" if there
        is none. ``statuses``: those of the steps beside the gate."""
        step = self.compiled.steps[gate].step
        assert isinstance(step, ApprovalStep)
        if step.config.approval.revise:
            return step.config.approval.revise
        makers = self._makers.get(gate)
        if makers is None:
            graph = self.compiled.graphs[self.compiled.blocks[gate]]
            step_types = {name: self.compiled.steps[name].step.step_type for name in graph.order}
            makers = self._makers[gate] = makers_for(graph, gate, step_types)
        return maker_of(makers, statuses)

    def place_of(self, row_name: str) -> tuple[str, str]:
        """Return a step's name in the definition, and what stands behind it in a row's name."""
        name, suffix = row_name, ""
        while self.loops.get(name) != suffix.count("["):
            match = _NUMBER.search(name)
            if match is None:
                raise KeyError(row_name)
            name, suffix = name[: match.start()], match[0] + suffix
        return name, suffix


_NUMBER = re.compile(r"\[\d+\]$")


def _loops_around(compiled: CompiledDefinition, name: str) -> int:
    count = 0
    while name := compiled.blocks[name]:
        block = compiled.steps[name].step
        assert isinstance(block, AnyBlock)
        count += block.config.is_loop
    return count
