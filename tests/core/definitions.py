"""Definition documents of every kind, for properties that hold of all of them.

They are well-formed: every step has the keys of its type, names are unique, and steps depend on
those before them. Whether what they refer to exists is another matter.
"""

from typing import Any

from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from workflows.core.names import Name

letters = st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])
texts = st.text(letters | st.sampled_from("\n\t:#'\"-{}[]&*!|>%@`"), max_size=20) | st.sampled_from(
    [
        "no",
        "1e5",
        "0123",
        "~",
        "null",
        "2024-01-01",
        "${steps.a.x}",
        " x ",
        "a: b",
        "1_000",
        "=",
        "<<",
    ]
)


def is_name(text: str) -> bool:
    """Tell whether something may be called that."""
    try:
        TypeAdapter(Name).validate_python(text)
    except ValidationError:
        return False
    return True


names = st.text(letters, min_size=1, max_size=8).filter(is_name)
expressions = st.sampled_from(["true", "steps.a.x > 1", "item == 'x: y'"])
numbers = st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, values, max_size=3)
seconds = st.integers(1, 10_000)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with any of these fields; some are null, which is the default."""
    return st.fixed_dictionaries({}, optional={k: st.none() | v for k, v in fields.items()})


def with_(required: dict[str, Any], optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with all of the required fields and those of the other strategy."""
    return st.builds(lambda one, other: one | other, st.fixed_dictionaries(required), optional)


retries = some(
    backoff=st.sampled_from(["fixed", "exponential"]),
    initial_seconds=st.floats(0, 100),
    max_seconds=st.integers(0, 100),
    jitter=st.sampled_from([0, 0.5, 1]),
    retry_on=st.lists(texts, max_size=2),
    no_retry_on=st.lists(texts, max_size=2),
)
fallbacks = (
    st.fixed_dictionaries({"output": values.filter(lambda value: value is not None)})
    | st.fixed_dictionaries({"task": names})
    | st.fixed_dictionaries({"agent_definition_id": names})
)
SHARED = {
    "inputs": objects,
    "retry": retries,
    "fallback": fallbacks,
    "queue": names,
    "continue_on_error": st.booleans(),
}
approvals = some(
    title=texts,
    description=texts,
    required_approvers=st.lists(names, max_size=2),
    auto_approve_after_seconds=st.integers(1, 100),
    expires_after_seconds=st.integers(101, 10_000),
    prevent_self_approval=st.booleans(),
    risk=st.sampled_from(["low", "medium", "high"]),
    on_reject=st.sampled_from(["fail", "continue"]),
    on_timeout=st.sampled_from(["fail", "continue", "approve"]),
    min_approvals=st.integers(1, 9) | st.just("all"),
    form_schema=st.just({"type": "object"}),
    max_revisions=st.integers(0, 9),
    reminders=st.lists(st.integers(1, 100), max_size=2),
)
waits = (
    st.fixed_dictionaries({"seconds": st.floats(0, 100) | st.integers(0, 9) | st.just("${x}")})
    | st.fixed_dictionaries({"until": st.just("2030-01-01T00:00:00+01:00")})
    | st.fixed_dictionaries({"event": names})
)
CONFIGS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "task": with_({"task": names}, some(isolated=st.booleans(), **SHARED)),
    "agent": some(
        required_capabilities=st.lists(names, max_size=2),
        assignment_strategy=st.sampled_from(["round_robin", "least_loaded"]),
        **SHARED,
    ),
    "approval": some(approval=approvals, **SHARED),
    "condition": some(
        branches=st.dictionaries(texts, st.lists(names, max_size=2), max_size=2),
        default=st.lists(names, max_size=2),
        **SHARED,
    ),
    "wait": st.builds(
        lambda wait, other: wait | other,
        waits,
        some(on_timeout=st.sampled_from(["fail", "continue"]), **SHARED),
    ),
    "workflow": with_({"workflow": names}, some(**SHARED)),
}
OF_TYPE: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "agent": st.fixed_dictionaries({"agent_definition_id": names}),
    "condition": st.fixed_dictionaries({"condition_expression": expressions}),
}
each = st.lists(values, max_size=2) | st.just("${things}")
BLOCKS = {
    "parallel": some(
        for_each=each, continue_on_error=st.booleans(), max_concurrency=st.integers(1, 9)
    ),
    "sequential": some(for_each=each, continue_on_error=st.booleans())
    | some(repeat_until=expressions, max_iterations=st.integers(1, 9)),
}
about_steps = some(
    description=texts,
    step_order=st.integers(0, 9),
    trigger_rule=st.sampled_from(["all_success", "all_done", "one_failed", "always"]),
    timeout_seconds=seconds,
    metadata=objects,
)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """A whole document: up to ten steps, in blocks up to three deep."""
    free = iter(draw(st.lists(names, min_size=10, max_size=10, unique=True)))
    steps = draw_steps(draw, [next(free) for _ in range(draw(st.integers(1, 3)))], free, 0)
    variables = [
        {"name": f"v{number}", "data_type": "json", "default_value": value}
        for number, value in enumerate(draw(st.lists(values, max_size=2)))
    ]
    about = some(
        description=texts,
        timeout_seconds=seconds,
        max_retries=st.integers(0, 100),
        config=some(fail_fast=st.booleans()),
        metadata=objects,
    )
    return {
        "name": draw(names),
        **draw(about),
        **({"variables": variables} if variables else {}),
        "steps": steps,
    }


def draw_steps(draw: st.DrawFn, mine: list[str], free: Any, depth: int) -> list[dict[str, Any]]:
    """Draw one step for each of the names; those inside it take theirs from the free ones."""
    steps: list[dict[str, Any]] = []
    for position, name in enumerate(mine):
        inside = [n for _, n in zip(range(draw(st.integers(0, 2))), free, strict=False)]
        if inside and depth < 3:
            step_type = draw(st.sampled_from(sorted(BLOCKS)))
            held = draw_steps(draw, inside, free, depth + 1)
            step = {"config": {**draw(BLOCKS[step_type]), "steps": held}}
        else:
            step_type = draw(st.sampled_from(sorted(CONFIGS)))
            step = {"config": draw(CONFIGS[step_type]), **draw(OF_TYPE.get(step_type, st.just({})))}
            step |= draw(some(max_retries=st.integers(0, 9)))
        before = draw(st.lists(st.sampled_from(mine[:position]), unique=True)) if position else []
        steps.append(
            {
                "name": name,
                "step_type": step_type,
                **({"depends_on_steps": before} if before else {}),
                **draw(about_steps),
                **step,
            }
        )
    return steps
