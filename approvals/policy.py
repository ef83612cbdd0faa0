"""How many, and who, must approve: what a rule still lacks, given those who have approved.

Pure. A rule is a number of persons, or composed of names (``workflows.core.approval.Policy``).
Each name is met by another person, and a person and their delegate are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Vote:
    """An approval that counts: of a ``person``, for the ``seat`` of whoever they stand in for.

    ``stands_for``: the names of the rule whose place the person can take.
    """

    person: int
    seat: int
    stands_for: frozenset[str]


@dataclass(frozen=True, slots=True)
class Count:
    """How far a rule is met: ``given`` of the ``needed`` approvals; the names of the others.

    A rule that is a number names everybody who could still give one.
    """

    given: int
    needed: int
    missing: tuple[str, ...] = ()

    @property
    def is_met(self) -> bool:
        return self.given >= self.needed


@dataclass(frozen=True, slots=True)
class Rule:
    """Who must approve: ``needed`` of the persons that ``names`` stand for, or a ``policy``."""

    names: tuple[str, ...]
    needed: int = 1
    policy: dict[str, Any] | None = None

    @classmethod
    def of(cls, names: Sequence[str], metadata: dict[str, Any]) -> "Rule":
        """Return the rule of a request from its ``required_approvers`` and metadata."""
        raise NotImplementedError

    @property
    def is_one(self) -> bool:
        """Whether any one person who may decide is enough."""
        return self.needed == 1 and self.policy is None

    def count(self, votes: Sequence[Vote]) -> Count:
        """Return how far these votes meet the rule."""
        raise NotImplementedError
