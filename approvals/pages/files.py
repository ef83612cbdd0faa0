"""The files of a request as its page shows them: each with its lines, its reviews and remarks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import Any, Final

from approvals.files import File, Side, files_of, roll_up, written_up
from approvals.models import FileOutcome, FileReview, LineComment, WorkflowStepApproval
from workflows.core.comparison import Stretch, compare
from workflows.models import User
from workflows.pages.differences import Marker, Part

#: Lines that a page shows, of all files together; the others are in the raw JSON.
MOST_LINES: Final = 3_000
#: Unchanged lines that are shown around a change; more of them are folded.
CONTEXT: Final = 3
LONGEST_LINE: Final = 2_000
#: What is invisible, or turns the direction of what follows: it is shown by its number.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
#: A diff of more lines is folded as a whole.
FOLD_ABOVE: Final = 400


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a diff. A number is None on the side where the line is not."""

    kind: str
    old: int | None
    new: int | None
    parts: Sequence[Part]
    remarks: Sequence[LineComment] = ()

    @property
    def side(self) -> Side:
        """The side that a remark on it is about."""
        return "old" if self.new is None else "new"

    @property
    def number(self) -> int | None:
        """Its number on that side."""
        return self.old if self.new is None else self.new


@dataclass(slots=True)
class Chunk:
    """Lines that stand together. Unchanged ones far from a change are folded, with their number;
    of these there may be more than ``lines`` shows."""

    lines: list[Line]
    folded: int = 0

    @property
    def left_out(self) -> int:
        return max(0, self.folded - len(self.lines))

    @property
    def pairs(self) -> list[tuple[Line | None, Line | None]]:
        """The lines side by side: what was, what becomes of it."""
        found: list[tuple[Line | None, Line | None]] = []
        gone: list[Line] = []
        new: list[Line] = []
        for line in self.lines:
            if line.kind == "same":
                found += [*zip_longest(gone, new), (line, line)]
                gone, new = [], []
            else:
                (gone if line.kind == "gone" else new).append(line)
        return [*found, *zip_longest(gone, new)]


@dataclass(slots=True)
class ShownFile:
    """One file: its diff, what the reader and others said of it."""

    number: int
    file: File
    mine: FileReview | None
    others: list[FileReview]
    chunks: list[Chunk] = field(default_factory=list)
    added: int = 0
    removed: int = 0
    left_out: int = 0
    #: The line that a link asks to remark on.
    asked: tuple[str, int] | None = None
    remarks: int = 0
    #: What was posted of it and refused, by field, with `error` and the `field` that it is of.
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_long(self) -> bool:
        return sum(len(chunk.lines) for chunk in self.chunks) > FOLD_ABOVE

    @property
    def end(self) -> str:
        """What becomes of the line break at its end, which no line shows."""
        before, after = self.file.before, self.file.after
        if not before or not after or before.endswith("\n") == after.endswith("\n"):
            return ""
        return "The last line " + (
            "ends with a break now." if after[-1] == "\n" else "has no break any more."
        )

    @property
    def comment(self) -> str:
        return self.refused.get("comment", self.mine.comment if self.mine else "")


class Files:
    """The files of a request, as one reader sees them.

    Args:
        asked: the query of the address: `view` (`side`: side by side), and `file`, `side`, `line`:
            the line to remark on.
        refused: a review or remark that was posted and refused, with its `path`.
    """

    def __init__(
        self,
        approval: WorkflowStepApproval,
        reader: User,
        asked: Mapping[str, str],
        refused: Mapping[str, str] | None = None,
    ) -> None:
        self._approval = approval
        self._reader = reader
        self._asked = asked
        self._refused = refused or {}
        self.is_side_by_side = asked.get("view") == "side"
        self.files = files_of(approval)

    @cached_property
    def shown(self) -> list[ShownFile]:
        """The files in their order, with as many lines as a page can show."""
        reviews = [
            review
            for review in FileReview.objects.filter(approval=self._approval).select_related(
                "reviewer"
            )
            if review.digest == self._approval.digest
        ]
        remarks: dict[tuple[str, str, int], list[LineComment]] = {}
        for remark in LineComment.objects.filter(
            approval=self._approval, digest=self._approval.digest
        ).select_related("author"):
            remarks.setdefault((remark.path, remark.side, remark.line), []).append(remark)
        budget = _Budget(MOST_LINES)
        found = []
        for number, file in enumerate(self.files, 1):
            of_it = [review for review in reviews if review.path == file.path]
            shown = ShownFile(
                number=number,
                file=file,
                mine=next((r for r in of_it if r.reviewer_id == self._reader.pk), None),
                others=[r for r in of_it if r.reviewer_id != self._reader.pk],
                asked=self._asked_line(number),
                remarks=sum(len(each) for key, each in remarks.items() if key[0] == file.path),
                refused=self._refused if self._refused.get("path") == file.path else {},
            )
            _fill(shown, remarks, budget)
            found.append(shown)
        return found

    @cached_property
    def rolled_up(self) -> FileOutcome | None:
        """What the reader's own reviews come to."""
        mine = {each.file.path: each.mine for each in self.shown if each.mine}
        return roll_up(self.files, mine) if mine else None

    @property
    def reviewed(self) -> int:
        """How many the reader has reviewed."""
        return sum(each.mine is not None for each in self.shown)

    @property
    def proposal(self) -> str:
        """What the reviews come to, in words; empty while they come to nothing."""
        match self.rolled_up:
            case FileOutcome.REJECTED:
                return "You rejected a file, and one rejection rejects the whole."
            case FileOutcome.REQUEST_CHANGES:
                return "You requested changes to a file, and one sends the whole back."
            case FileOutcome.APPROVED:
                return "You approved every file."
        return ""

    @property
    def feedback(self) -> str:
        """What the reader wrote of the files, for the form of the decision."""
        return written_up(self._approval, self._reader) if self.reviewed else ""

    def _asked_line(self, number: int) -> tuple[str, int] | None:
        text = self._asked.get("line", "")
        if self._asked.get("file") != str(number) or not (text.isascii() and text.isdigit()):
            return None
        return ("old" if self._asked.get("side") == "old" else "new", int(text[:9]))


class _Budget:
    """How many lines may still be shown, and words marked."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.marker = Marker()


def _fill(shown: ShownFile, remarks: Mapping[Any, list[LineComment]], budget: _Budget) -> None:
    """Give a file its lines, in chunks."""
    old, new = shown.file.lines("old"), shown.file.lines("new")
    stretches = compare(old, new)
    shown.removed = sum(s.end_old - s.start_old for s in stretches if not s.is_same)
    shown.added = sum(s.end_new - s.start_new for s in stretches if not s.is_same)

    def remarks_on(side: str, number: int) -> Sequence[LineComment]:
        return remarks.get((shown.file.path, side, number), ())

    for at, stretch in enumerate(stretches):
        if not stretch.is_same:
            lines = list(_changed(stretch, old, new, remarks_on, budget))
            _chunk(shown).lines += lines
            total = stretch.end_old - stretch.start_old + stretch.end_new - stretch.start_new
            shown.left_out += total - len(lines)
            continue
        head = CONTEXT if at else 0
        tail = CONTEXT if at < len(stretches) - 1 else 0
        length = stretch.end_old - stretch.start_old
        if length <= head + tail + 1:
            head, tail = length, 0
        numbers = range(length)
        _chunk(shown).lines += _same(stretch, numbers[:head], new, remarks_on, budget)
        if length > head + tail:
            folded = list(_same(stretch, numbers[head : length - tail], new, remarks_on, budget))
            shown.chunks.append(Chunk(folded, length - head - tail))
            shown.chunks.append(Chunk([]))
        _chunk(shown).lines += _same(stretch, numbers[length - tail :], new, remarks_on, budget)


def _chunk(shown: ShownFile) -> Chunk:
    if not shown.chunks:
        shown.chunks.append(Chunk([]))
    return shown.chunks[-1]


def _changed(
    stretch: Stretch, old: list[str], new: list[str], remarks_on: Any, budget: _Budget
) -> Iterator[Line]:
    """The lines that go, then those that come; lines that face each other have words marked."""
    gone = range(stretch.start_old, stretch.end_old)
    come = range(stretch.start_new, stretch.end_new)
    faced = min(len(gone), len(come), max(0, budget.lines))
    pairs = [
        budget.marker.mark(_named(old[gone[i]]), _named(new[come[i]]))
        if len(gone) == len(come)
        else ([Part(_cut(old[gone[i]]), False)], [Part(_cut(new[come[i]]), False)])
        for i in range(faced)
    ]
    for i, number in enumerate(gone):
        if not _take(budget):
            return
        parts = pairs[i][0] if i < faced else [Part(_cut(old[number]), False)]
        yield Line("gone", number + 1, None, parts, remarks_on("old", number + 1))
    for i, number in enumerate(come):
        if not _take(budget):
            return
        parts = pairs[i][1] if i < faced else [Part(_cut(new[number]), False)]
        yield Line("new", None, number + 1, parts, remarks_on("new", number + 1))


def _same(
    stretch: Stretch, numbers: range, new: list[str], remarks_on: Any, budget: _Budget
) -> Iterator[Line]:
    for each in numbers:
        if not _take(budget):
            return
        one, other = stretch.start_old + each + 1, stretch.start_new + each + 1
        found = [*remarks_on("old", one), *remarks_on("new", other)]
        yield Line("same", one, other, [Part(_cut(new[other - 1]), False)], found)


def _take(budget: _Budget) -> bool:
    budget.lines -= 1
    return budget.lines >= 0


def _cut(line: str) -> str:
    """A line as it is shown: bounded, and with nothing in it that would hide or turn its text."""
    return _named(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…")


def _named(line: str) -> str:
    return line if line.isascii() and line.isprintable() else _HIDDEN.sub(_name, line)


def _name(character: re.Match[str]) -> str:
    return f"⟨U+{ord(character[0]):04X}⟩"
