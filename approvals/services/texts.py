"""Texts that people write beside a request: not too long, and nothing that cannot be stored."""

from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem, UnstorableError


def text_problem(
    name: str, text: str, longest: int, *, is_required: bool = False
) -> Problem | None:
    """Return what is wrong with a text, as a problem of the field ``name``; None if nothing is."""
    if is_required and not text.strip():
        return Problem("", "required", "Write something.", f"/{name}")
    if len(text) > longest:
        return Problem("", "too_long", f"Write at most {longest} characters.", f"/{name}")
    try:
        dumps_canonical(text)
    except UnstorableError as error:
        return Problem("", error.reason, error.message, f"/{name}")
    return None
