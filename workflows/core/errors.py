"""The errors of the core: what it refuses, and how a refusal is told.

Every error has a `code` that never changes its meaning; the sentence beside it may.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong (or doubtful) in a definition, with the place where it stands.

    `path` is a JSON pointer (RFC 6901) into the document: `/steps/1/config/inputs/plan`.
    `step_name` is empty where the problem belongs to no step.
    """

    step_name: str
    error_type: str
    message: str
    path: str


class CoreError(Exception):
    """The core refuses what it was given."""

    code: str = "core_error"


class DefinitionError(CoreError):
    """The definition is not valid; `errors` says everything that is wrong with it."""

    code = "invalid_definition"

    def __init__(self, errors: Sequence[Problem]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(problem.message for problem in self.errors[:5]))


class CycleError(DefinitionError):
    """Steps wait for one another in a circle; `path` names them, the first one again at the end."""

    def __init__(self, path: Sequence[str], pointer: str = "/steps") -> None:
        self.path = tuple(path)
        super().__init__([cycle_problem(self.path, pointer)])


def cycle_problem(cycle: Sequence[str], pointer: str) -> Problem:
    """Return the problem that names a cycle with its path: `a → b → c → a`."""
    way = " → ".join(cycle if len(cycle) <= 21 else (*cycle[:10], "…", *cycle[-10:]))
    return Problem(cycle[0], "cycle", f"Steps wait for one another: {way}", pointer)


class CanonicalError(CoreError):
    """A text or a value is not the JSON that can be kept; `path` points at it where known."""

    def __init__(self, reason: str, message: str, path: str | None = None) -> None:
        self.code = reason
        self.reason = reason
        self.message = message
        self.path = path
        super().__init__(message if not path else f"{message} (at {path})")


class UnstorableError(CanonicalError):
    """A value cannot be stored as JSON; `reason` says why (`too_deep`, `nul_character`, …)."""

    def __init__(self, reason: str, message: str, path: str | None = None) -> None:
        super().__init__(reason, message, path)
        self.code = "unstorable_output"


class ExpressionError(CoreError):
    """An expression or a reference cannot be read, or has no value for this run.

    `reason` is `expression_error`, or what makes a reference impossible: `unknown_step`,
    `not_an_ancestor`, `undeclared_variable`, `unknown_field`, `type_mismatch`. `position` counts
    characters from the beginning of the text, from 0; it is None where the error belongs to no
    place. `others`: what else is wrong with the same text.
    """

    code = "expression_error"

    def __init__(
        self, message: str, *, position: int | None = None, reason: str = "expression_error"
    ) -> None:
        self.message = message
        self.position = position
        self.reason = reason
        self.others: tuple[ExpressionError, ...] = ()
        super().__init__(message)

    @classmethod
    def joined(cls, errors: Iterable["ExpressionError"]) -> "ExpressionError":
        """Return the first of several errors in one text, with the others; each is told once."""
        different: dict[tuple[str, str], ExpressionError] = {}
        for error in sorted(errors, key=lambda error: error.position or 0):
            different.setdefault((error.reason, error.message), error)
        first, *others = different.values()
        joined = cls(first.message, position=first.position, reason=first.reason)
        joined.others = tuple(others)
        return joined

    @property
    def every(self) -> tuple["ExpressionError", ...]:
        """This error and the others."""
        return (self, *self.others)

    def moved(self, by: int) -> "ExpressionError":
        """Return the same error for a text in which the expression stands `by` characters on."""
        position = None if self.position is None else self.position + by
        moved = ExpressionError(self.message, position=position, reason=self.reason)
        moved.others = tuple(other.moved(by) for other in self.others)
        return moved


def json_pointer(parts: Iterable[str | int]) -> str:
    """Return the RFC 6901 pointer to the place that is reached through `parts`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
