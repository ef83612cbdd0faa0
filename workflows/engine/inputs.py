"""What goes into a step and what comes out of it, as the values and the text that are kept."""

from typing import Any

from django.conf import settings

from workflows.core.canonical import MAX_DEPTH, dumps_canonical
from workflows.core.compiled import CompiledStep
from workflows.core.scope import Scope
from workflows.dialects import RawJson

#: How many outputs of the largest size the result of a run can hold.
_OUTPUTS_A_RESULT = 16


def read_inputs(step: CompiledStep, scope: Scope) -> dict[str, Any]:
    """Return the step's inputs with their references put in. Raises ExpressionError."""
    inputs: dict[str, Any] = step.inputs.resolve(scope)
    return inputs


def read_texts(step: CompiledStep, scope: Scope) -> dict[str, str]:
    """Return the texts that a gate shows, with their references put in."""
    return {
        name: str(compiled.resolve(scope))
        for name, compiled in (("title", step.title), ("description", step.description))
        if compiled
    }


def request_size(texts: dict[str, str], payload: dict[str, Any]) -> int:
    """Return the length of what a request shows, and keeps with its digest.

    Raises UnstorableError for what no request could show.
    """
    return len(dumps_canonical({**texts, "approval_data": payload, "revision": 2**31}))


def dump_json(value: Any) -> RawJson:
    """Return the canonical text of an input or an output.

    Raises UnstorableError if it has none, or a longer one than ``MGX_MAX_OUTPUT_BYTES``.
    """
    return RawJson(dumps_canonical(value, max_bytes=settings.MGX_MAX_OUTPUT_BYTES))


def dump_result(outputs: dict[str, Any]) -> RawJson:
    """Return the canonical text of a run's result: outputs that could each be kept by itself.

    Raises UnstorableError if they are too long together.
    """
    longest = _OUTPUTS_A_RESULT * settings.MGX_MAX_OUTPUT_BYTES
    return RawJson(dumps_canonical(outputs, max_bytes=longest, max_depth=MAX_DEPTH + 1))
