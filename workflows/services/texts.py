"""Texts that people write: not too long, and nothing that cannot be stored."""

from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem, UnstorableError
from workflows.errors import InvalidInput


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
        words = f"{error.message[:1].upper()}{error.message[1:]}."
        return Problem("", error.reason, words, f"/{name}")
    return None


def check_text(name: str, text: str, longest: int, *, is_required: bool = False) -> None:
    """Raise InvalidInput if something is wrong with the one text that a verb is given."""
    if problem := text_problem(name, text, longest, is_required=is_required):
        raise InvalidInput(problem.message, [problem], code=problem.error_type)
