"""The files of a request: what ``approval_data["files"]`` holds, and what a person says of them.

A file is ``{"path": …, "before": …, "after": …}``: two texts, null or missing where the file is
added or deleted. Whoever carries the request out writes to these paths, so that none may lead out
of the folder that they stand in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import unquote

from approvals.models import FileOutcome, FileReview, LineComment, WorkflowStepApproval
from workflows.core.errors import Problem
from workflows.errors import Conflict
from workflows.models import User

MOST_FILES: Final = 500
LONGEST_PATH: Final = 500

_DRIVE: Final = re.compile(r"[A-Za-z]:")
_WORDS: Final = {
    FileOutcome.APPROVED: "approved every file",
    FileOutcome.REJECTED: "rejected a file",
    FileOutcome.REQUEST_CHANGES: "requested changes to a file",
}

Side = Literal["old", "new"]


@dataclass(frozen=True, slots=True)
class File:
    """One file under review. ``before`` is None for one that is added, ``after`` for one that is
    deleted."""

    path: str
    before: str | None
    after: str | None

    @property
    def change(self) -> str:
        """What becomes of it: ``added``, ``deleted`` or ``changed``."""
        if self.before is None:
            return "added"
        return "deleted" if self.after is None else "changed"

    def lines(self, side: Side) -> list[str]:
        """Return its lines as they are (``old``) or as they become (``new``)."""
        lines = ((self.before if side == "old" else self.after) or "").split("\n")
        return lines if lines[-1] else lines[:-1]


def files_of(approval: WorkflowStepApproval) -> list[File]:
    """Return the files under review; none where the request holds none that can be reviewed."""
    listed = _listed(approval.approval_data)
    if not listed or any(file_problems(approval.approval_data)):
        return []
    return [File(each["path"], each.get("before"), each.get("after")) for each in listed]


def file_problems(approval_data: Any) -> Iterator[Problem]:
    """Yield what is wrong with the files of a payload, each with its JSON pointer.

    A ``files`` that is no list with objects that have a ``path`` is content like any other.
    """
    listed = _listed(approval_data)
    root = "/approval_data/files"
    if len(listed) > MOST_FILES:
        yield Problem("", "too_many", f"At most {MOST_FILES} files can be reviewed.", root)
        return
    paths = set()
    for index, each in enumerate(listed):
        place = f"{root}/{index}"
        if not isinstance(each, Mapping):
            yield Problem("", "invalid", "A file is an object with a path.", place)
            continue
        path = each.get("path")
        if message := _path_mistake(path):
            yield Problem("", "invalid_path", message, f"{place}/path")
        elif path in paths:
            yield Problem("", "duplicate_path", "This file is there twice.", f"{place}/path")
        paths.add(str(path))
        for side in ("before", "after"):
            if not isinstance(each.get(side), str | None):
                yield Problem("", "invalid_type", "This must be a text or null.", f"{place}/{side}")
        if each.get("before") is None and each.get("after") is None:
            yield Problem("", "required", "Say what the file was or becomes.", place)


def reviews_of(approval: WorkflowStepApproval, user: User) -> dict[str, FileReview]:
    """Return what ``user`` said of the files as they are now, by path."""
    found = FileReview.objects.filter(approval=approval, reviewer=user, digest=approval.digest)
    return {review.path: review for review in found}


def rolled_up(approval: WorkflowStepApproval, user: User) -> FileOutcome | None:
    """Return what ``user``'s reviews of the files come to, or None while that is open.

    One rejection rejects; else one request for changes sends back; all approved approves.
    """
    files = files_of(approval)
    return roll_up(files, reviews_of(approval, user)) if files else None


def roll_up(files: Iterable[File], reviews: Mapping[str, FileReview]) -> FileOutcome | None:
    """Do as ``rolled_up``, with what is known already."""
    outcomes = [reviews[file.path].outcome if file.path in reviews else "" for file in files]
    for outcome in (FileOutcome.REJECTED, FileOutcome.REQUEST_CHANGES):
        if outcome in outcomes:
            return outcome
    is_approved = bool(outcomes) and all(each == FileOutcome.APPROVED for each in outcomes)
    return FileOutcome.APPROVED if is_approved else None


def contradiction(approval: WorkflowStepApproval, outcome: str, user: User) -> Conflict | None:
    """Return why ``user`` cannot decide like this, having said something else of the files.

    Who has reviewed no file decides on all of them together; who has begun to, and found nothing
    wrong so far, finishes before they approve.
    """
    files = files_of(approval)
    reviews = reviews_of(approval, user) if files else {}
    if not reviews:
        return None
    found = roll_up(files, reviews)
    if found is None and outcome == FileOutcome.APPROVED:
        left = sum(file.path not in reviews for file in files)
        return Conflict(
            f"You have not reviewed {left} of the {len(files)} files.",
            code="files_not_reviewed",
            files_left=left,
        )
    if found is None or found == outcome:
        return None
    return Conflict(
        f"You {_WORDS[found]}. Decide the same on the whole, or change your review first.",
        code="files_contradict",
        files_outcome=str(found),
    )


def written_up(approval: WorkflowStepApproval, user: User) -> str:
    """Return what ``user`` wrote about the files, as the feedback that the next revision gets."""
    parts = [
        f"{path}: {review.comment}"
        for path, review in reviews_of(approval, user).items()
        if review.comment
    ]
    remarks = LineComment.objects.filter(approval=approval, author=user, digest=approval.digest)
    parts += [f"{each.path}:{each.line}: {each.body}" for each in remarks]
    return "\n".join(parts)


def _listed(approval_data: Any) -> list[Any]:
    listed = approval_data.get("files") if isinstance(approval_data, Mapping) else None
    if not isinstance(listed, list):
        return []
    return listed if any(isinstance(each, Mapping) and "path" in each for each in listed) else []


def _path_mistake(path: Any) -> str:
    """Say what is wrong with a path; empty where it names a file below its folder."""
    if not isinstance(path, str) or not path.strip():
        return "A file needs a path."
    if len(path) > LONGEST_PATH:
        return f"A path has at most {LONGEST_PATH} characters."
    if any(unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp", "Cs") for each in path):
        return "A path holds no invisible characters."
    read = unquote(path)
    if "\\" in read or read.startswith(("/", "~")) or _DRIVE.match(read):
        return "A path begins in its folder and is parted by /."
    if any(part.strip() in ("", ".", "..") for part in read.split("/")):
        return "A path leads to a file in its folder, without . or .. on the way."
    return ""
