"""What changed since the revision that the reader last saw, each feedback beside what answers it.

Which change answers which words is the agent's claim: an object of the payload may hold ``answers``
(or ``addresses``), a list of ``{"feedback": words, "path": place}`` or an object from places to
words. A place is a JSON Pointer or dotted, and begins at the object that holds the claim; positions
count from 0. A claim counts only for words that somebody did write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from approvals.models import SeenApproval, WorkflowStepApproval
from workflows.bulk import as_uuid, select
from workflows.models import User
from workflows.pages.differences import Difference, find_differences

_CLAIMS: Final = ("answers", "addresses")
_MOST_CLAIMS: Final = 200
_MOST_BESIDE: Final = 5
_SHORTEST: Final = 3
_SPACES: Final = re.compile(r"\s+")
_PARTED: Final = re.compile(r"[/.\[\]]")

Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """What the agent says that it answers, and where."""

    words: str
    place: Place


@dataclass(frozen=True, slots=True)
class Said:
    """What a person wrote as they sent a revision back, line by line."""

    revision: int
    user: User | None
    at: datetime | None
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A change beside what the agent says that it answers.

    Attributes:
        said: what a person wrote, and who; none where the agent names no words.
        invented: words that the agent claims to answer and that nobody wrote.
    """

    difference: Difference
    said: tuple[tuple[Said, str], ...]
    invented: tuple[str, ...]


class Changes:
    """What changed since a revision before.

    Args:
        compared_with: the number of the revision to compare with; by default the last one that
            the reader has seen, or else the one before.
    """

    def __init__(
        self, approval: WorkflowStepApproval, reader: User, compared_with: int | None = None
    ) -> None:
        self.approval = approval
        self._reader = reader
        self._wanted = compared_with

    @cached_property
    def earlier(self) -> list[WorkflowStepApproval]:
        """The revisions before, the newest first; without those that were only taken back."""
        ids = _ancestors(self.approval)
        if not ids:
            return []
        found = {
            each.pk: each
            for each in WorkflowStepApproval.objects.filter(pk__in=ids).select_related(
                "approved_by"
            )
        }
        newest: dict[int, WorkflowStepApproval] = {}
        for pk in ids:
            if pk in found and found[pk].revision != self.approval.revision:
                newest.setdefault(found[pk].revision, found[pk])
        return list(newest.values())

    @cached_property
    def seen(self) -> dict[UUID, datetime]:
        """When the reader opened each of the revisions before."""
        rows = SeenApproval.objects.filter(
            approval__in=[each.pk for each in self.earlier], user=self._reader
        )
        return dict(rows.values_list("approval_id", "seen_at"))

    @cached_property
    def base(self) -> WorkflowStepApproval | None:
        """The revision that this one is compared with; None for a first one."""
        if not self.earlier:
            return None
        for each in self.earlier:
            if each.revision == self._wanted:
                return each
        return next((each for each in self.earlier if each.pk in self.seen), self.earlier[0])

    @property
    def seen_at(self) -> datetime | None:
        """When the reader saw what this is compared with."""
        return self.seen.get(self.base.pk) if self.base else None

    @property
    def others(self) -> list[WorkflowStepApproval]:
        """The other revisions that it can be compared with."""
        return [each for each in self.earlier if each != self.base]

    @cached_property
    def differences(self) -> list[Difference]:
        """The places that differ; the agent's claims are not among them."""
        if self.base is None:
            return []
        before, after = _without_claims(self.base.approval_data), _without_claims(self._data)
        return find_differences(before, after)

    @cached_property
    def said(self) -> list[Said]:
        """What people wrote of the revisions in between, the newest first."""
        base = self.base
        return [
            Said(each.revision, each.approved_by, each.responded_at, _lines(each.feedback))
            for each in self.earlier
            if base is not None and each.revision >= base.revision and each.feedback.strip()
        ]

    @cached_property
    def has_claims(self) -> bool:
        return bool(self._claims)

    @cached_property
    def answers(self) -> list[Answer]:
        """The changes, each with what the agent says that it answers."""
        return [self._answer(each) for each in self.differences]

    @cached_property
    def unanswered(self) -> list[tuple[Said, str]]:
        """What people wrote and the agent names no change for."""
        answered = {pair for answer in self.answers for pair in answer.said}
        return [
            (said, line)
            for said in self.said
            for line in said.lines
            if (said, line) not in answered
        ]

    @property
    def _data(self) -> Any:
        return self.approval.approval_data

    @cached_property
    def _claims(self) -> Sequence[Claim]:
        found: list[Claim] = []
        for claim in _claims(self._data):
            if len(found) == _MOST_CLAIMS:
                break
            found.append(claim)
        return found

    def _answer(self, difference: Difference) -> Answer:
        place = tuple(map(str, difference.place))
        said: dict[tuple[Said, str], None] = {}
        invented: dict[str, None] = {}
        for claim in self._claims:
            if not (_begins(place, claim.place) or _begins(claim.place, place)):
                continue
            written = self._written[claim.words]
            said |= dict.fromkeys(written)
            if not written:
                invented[claim.words] = None
        return Answer(difference, tuple(said)[:_MOST_BESIDE], tuple(invented)[:_MOST_BESIDE])

    @cached_property
    def _written(self) -> dict[str, list[tuple[Said, str]]]:
        """The lines of feedback that hold the words of each claim, however they are spaced."""
        lines = [(said, line, _plain(line)) for said in self.said for line in said.lines]
        found = {}
        for words in {claim.words for claim in self._claims}:
            wanted = _plain(words)
            found[words] = [
                (said, line)
                for said, line, plain in lines
                if len(wanted) >= _SHORTEST and (wanted in plain or plain in wanted)
            ]
        return found


def later_revision(approval: WorkflowStepApproval) -> WorkflowStepApproval | None:
    """Return the request that asks anew after this one, if there is one."""
    later: WorkflowStepApproval | None = approval.revisions.order_by("-requested_at").first()
    return later


def _ancestors(approval: WorkflowStepApproval) -> list[UUID]:
    """The requests before one, the nearest first."""
    if approval.parent_approval_id is None:
        return []
    rows = select(
        "WITH RECURSIVE before(id, parent, steps) AS ("
        "SELECT id, parent_approval_id, 1 FROM workflow_step_approvals WHERE id = %s"
        " UNION ALL SELECT a.id, a.parent_approval_id, b.steps + 1"
        " FROM workflow_step_approvals a JOIN before b ON a.id = b.parent WHERE b.steps < 300"
        ") SELECT id FROM before ORDER BY steps",
        approval.parent_approval_id,
    )  # fmt: skip
    return [as_uuid(row[0]) for row in rows]


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _plain(text: str) -> str:
    return _SPACES.sub(" ", text).strip(" .!?").casefold()


def _place(path: str) -> Place:
    return tuple(part.strip() for part in _PARTED.split(path) if part.strip())


def _begins(place: Place, start: Place) -> bool:
    return bool(start) and place[: len(start)] == start


def _claims(value: Any, place: Place = ()) -> Iterator[Claim]:
    """Yield the claims of a payload, wherever they stand in it."""
    if isinstance(value, Mapping):
        for key in _CLAIMS:
            for words, where in _claimed(value.get(key)):
                yield Claim(words, (*place, *_place(where)))
        for key, inner in value.items():
            if key not in _CLAIMS:
                yield from _claims(inner, (*place, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _claims(inner, (*place, str(index)))


def _claimed(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the words and the places of one list or object of claims; what is neither says none."""
    if isinstance(value, Mapping):
        for where, words in value.items():
            if isinstance(words, str):
                yield words, where
        return
    for each in value if isinstance(value, list) else ():
        words = each.get("feedback") if isinstance(each, Mapping) else None
        where = each.get("path") if isinstance(each, Mapping) else None
        for one in where if isinstance(where, list) else [where]:
            if isinstance(words, str) and isinstance(one, str):
                yield words, one


def _without_claims(value: Any) -> Any:
    """Return a payload without the claims in it."""
    if isinstance(value, Mapping):
        return {
            key: _without_claims(inner)
            for key, inner in value.items()
            if key not in _CLAIMS or not any(_claimed(inner))
        }
    return [_without_claims(each) for each in value] if isinstance(value, list) else value
