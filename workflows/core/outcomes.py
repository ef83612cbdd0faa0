"""What a step can come to: a closed set, matched once by the engine (``workflows/engine``)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workflows.core.approval import Approval
from workflows.core.states import SkipReason


@dataclass(frozen=True, slots=True)
class Completed:
    """The step succeeded. ``output``: JSON; ``text``: its canonical form, once it is known.

    ``goes_to``: of the steps behind a gate the one that alone goes on.
    """

    output: object
    text: str | None = None
    goes_to: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """The step decided not to run."""

    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed.

    ``code``: stable, for ``retry_on``; ``message``: for people, bounded; ``is_final``: another
    attempt cannot help; ``is_timeout``: time ran out; ``elsewhere``: whoever carried the attempt
    out is at fault, so another one takes it over at once, without using up a retry.
    """

    code: str
    message: str
    is_final: bool = False
    is_timeout: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """The step left the worker and goes on when something outside it happens."""


@dataclass(frozen=True, slots=True)
class Revise:
    """A gate sends the work back: what made it is done anew, with ``feedback`` at hand, and then
    the gate opens again. ``output``, ``text``: what this revision of the gate came to."""

    feedback: str
    output: object
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Asks:
    """The attempt stops to ask people. Another one goes on with what they answer, whatever that
    is, and uses up no retry.

    ``approval``: what is asked, of whom; ``payload``: what they are shown and decide on.
    """

    approval: Approval
    payload: Mapping[str, Any]


Outcome = Completed | Skipped | Failed | Waiting | Revise | Asks
