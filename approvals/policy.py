"""How many, and who, must approve: what a rule still lacks, given those who have approved.

Pure. A rule is a number of persons, or composed of names (``workflows.core.approval.Policy``).
Each name is met by another person, and a person and their delegate are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from approvals.matching import assign, fill


@dataclass(frozen=True, slots=True)
class Vote:
    """An approval that counts: of a ``person``, for the ``seat`` of whoever they stand in for.

    ``stands_for``: the names of the rule whose place the person can take.
    """

    person: int
    seat: int
    stands_for: frozenset[str] = frozenset()


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
        names = tuple(names)
        if policy := metadata.get("policy"):
            return cls(names, policy=policy)
        needed = metadata.get("min_approvals", 1)
        if needed != "all":
            return cls(names, needed)
        return cls(names, policy={"all_of": names}) if len(names) > 1 else cls(names)

    @property
    def is_one(self) -> bool:
        """Whether any one person who may decide is enough."""
        return self.needed == 1 and self.policy is None

    def count(self, votes: Sequence[Vote]) -> Count:
        """Return how far these votes meet the rule."""
        voters = [vote.stands_for for vote in distinct(votes)]
        if self.policy is not None:
            filling = fill(self.policy, voters)
            return Count(filling.filled, filling.filled + len(filling.missing), filling.missing)
        if len(voters) >= self.needed:
            return Count(self.needed, self.needed)
        places = [{i for i, name in enumerate(self.names) if name in names} for names in voters]
        taken = assign(places)
        missing = (
            name
            for index, name in enumerate(self.names)
            if index not in taken or name.startswith(("group:", "role:"))
        )
        return Count(len(voters), self.needed, tuple(dict.fromkeys(missing)))


def distinct(votes: Sequence[Vote]) -> list[Vote]:
    """Return the votes without those of a person, or for a seat, that has voted before."""
    people: set[int] = set()
    seats: set[int] = set()
    found = []
    for vote in votes:
        if vote.person not in people and vote.seat not in seats:
            people.add(vote.person)
            seats.add(vote.seat)
            found.append(vote)
    return found
