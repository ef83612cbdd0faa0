"""What follows on a decision: the steps that wait for a gate, and what each outcome does to them.

Everything here is what the server knows from the definition and the rows; nothing an agent wrote.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from approvals.models import WorkflowStepApproval
from approvals.services.clock import moment_after
from workflows.core.names import name_in_definition
from workflows.pages.documents import shorten
from workflows.pages.graphs import (
    blocks_around,
    edges_inside,
    edges_of,
    every_step,
    nested_of,
    steps_of,
)

#: Trigger rules by which a step starts although one before it failed.
_ACCEPTS_FAILURE: Final = frozenset({"all_done", "all_failed", "one_failed", "always"})
_NAMED_AT_MOST: Final = 4

Effect = Literal["approves", "continues", "escalates", "leads_on", "fails", "nothing"]


@dataclass(frozen=True, slots=True)
class Silence:
    """What happens when nobody decides, and when.

    Attributes:
        effect: `leads_on`: a step that runs only then; `escalates`: more people are asked.
        escalates_at: when more people are asked before that, if they are.
        is_stopped: the clock stands still, so that `at` moves on with every moment.
    """

    effect: Effect
    at: datetime | None
    escalates_at: datetime | None = None
    is_stopped: bool = False


@dataclass(frozen=True, slots=True)
class Consequences:
    """The four ends of a request, each in words."""

    approve: SafeString
    request_changes: SafeString
    reject: SafeString
    silence: SafeString


class Following:
    """What comes after the gate of one request.

    Args:
        definition: of the run's version; None for a request that belongs to no run.
        done: the names of the steps that have ended already.
        missing: how many approvals are wanted besides the reader's.
    """

    def __init__(
        self,
        approval: WorkflowStepApproval,
        definition: Mapping[str, Any] | None,
        done: Container[str] = (),
        missing: int = 0,
    ) -> None:
        self._approval = approval
        self._missing = missing
        step_execution = approval.step_execution
        self.gate = step_execution.name if step_execution else ""
        self._number = approval.workflow_execution.number if approval.workflow_execution else 0
        self._rules = approval.approval_metadata
        self._silence = silence_of(approval)
        top = steps_of(definition or {})
        every = {step["name"]: step for step in every_step(top)}
        defined = name_in_definition(self.gate, every)
        blocks = blocks_around(top, defined)
        #: The step at the top of the definition that is the gate or holds it.
        self.top_gate: str = blocks[0]["name"] if blocks else defined
        self._is_tolerated = any(
            (step.get("config") or {}).get("continue_on_error")
            for step in [*blocks, every.get(defined, {})]
        )
        following, ready = _next_steps(top, blocks, defined, self.gate[len(defined) :], done)
        only = {self._rules.get("on_reject"), self._rules.get("on_timeout")}
        #: The steps that run after the gate, but for those that only a rejection or silence starts.
        self.next_steps = [step for step in following if step["name"] not in only]
        self.ready_steps = [step for step in ready if step["name"] not in only]

    def starts(self) -> SafeString:
        """What approval starts, for one column of a list."""
        if not self.gate:
            return SafeString("whoever asked goes on")
        if not self.next_steps:
            return SafeString("the run completes")
        first = self.next_steps[0]
        what = shorten(first.get("description") or "", 60)
        others = len(self.next_steps) - 1
        return format_html(
            "<code>{}</code> {}{}", first["name"], what, f" and {others} more" if others else ""
        )

    def consequences(self) -> Consequences:
        return Consequences(
            approve=self.on_approval(),
            request_changes=self._on_changes(),
            reject=self._on_rejection(),
            silence=self._on_silence(),
        )

    @property
    def revisions_left(self) -> int | None:
        """How often changes can still be requested; None for a gate that cannot revise."""
        most = self._rules.get("max_revisions")
        return None if most is None else max(0, most - self._approval.revision_count)

    def on_approval(self) -> SafeString:
        """What approval does, as one sentence or two."""
        if self._missing:
            verb = "is" if self._missing == 1 else "are"
            return format_html(
                "It is counted, and {} more {} wanted. Once all are in: {}",
                self._missing,
                verb,
                self._on_last_approval(),
            )
        return self._on_last_approval()

    def _on_last_approval(self) -> SafeString:
        if not self.gate:
            return SafeString("The answer is recorded, and whoever asked goes on with it.")
        if not self.next_steps:
            return format_html("<code>{}</code> completes. No step waits for it.", self.gate)
        if not self.ready_steps:
            return format_html(
                "{} {} once the other steps before {} have ended.",
                _names(self.next_steps),
                _verb(self.next_steps, "starts", "start"),
                _verb(self.next_steps, "it", "them"),
            )
        described = format_html_join(
            "",
            " <code>{}</code>: {}.",
            (
                (step["name"], shorten(step["description"], 300).rstrip("."))
                for step in self.ready_steps
                if step.get("description")
            ),
        )
        return format_html(
            "{} {} at once with exactly the content below.{}",
            _names(self.ready_steps),
            _verb(self.ready_steps, "starts", "start"),
            described,
        )

    def _on_changes(self) -> SafeString:
        if self.revisions_left == 0:
            most = self._rules["max_revisions"]
            if not most:
                return SafeString("Not possible: nothing is revised here.")
            return format_html("Not possible any more: all {} revisions are used.", most)
        if not self.gate:
            return SafeString("Your comment goes back to whoever asked. They may ask anew.")
        if revise := self._rules.get("revise"):
            return format_html(
                "<code>{}</code> runs again with your comment, and you are asked anew. {} of {}"
                " revisions are used.",
                revise,
                self._approval.revision_count,
                self._rules["max_revisions"],
            )
        return format_html("Your comment is recorded. {}", self._failure())

    def _on_rejection(self) -> SafeString:
        if not self.gate:
            return SafeString("The answer is recorded, and whoever asked is told so.")
        on_reject = self._rules.get("on_reject", "fail")
        if on_reject == "continue":
            return self._goes_on("with the answer “rejected”")
        return self._failure() if on_reject == "fail" else self._leads_to(on_reject)

    def _leads_to(self, name: str) -> SafeString:
        """A step starts that only this end starts; the others after the gate are skipped."""
        if not self.next_steps:
            return format_html("<code>{}</code> starts.", name)
        verb = _verb(self.next_steps, "does", "do")
        return format_html(
            "<code>{}</code> starts instead. {} {} not.", name, _names(self.next_steps), verb
        )

    def on_escalation(self) -> SafeString:
        """Who may decide as well once the circle is widened."""
        return format_html("{} may decide as well.", self._wider())

    def _wider(self) -> str:
        return ", ".join(map(str, self._rules.get("escalate_to", ()))) or "More people"

    def _failure(self) -> SafeString:
        """The gate fails: what that does to the run and to the steps after the gate."""
        accepting = [s for s in self.next_steps if s.get("trigger_rule") in _ACCEPTS_FAILURE]
        stopped = [step for step in self.next_steps if step not in accepting]
        parts = [
            format_html("<code>{}</code> fails, but run {} goes on.", self.gate, self._number)
            if self._is_tolerated
            else format_html("Run {} fails.", self._number)
        ]
        if stopped:
            verb = _verb(stopped, "does", "do")
            parts.append(format_html("{} {} not start.", _names(stopped), verb))
        if accepting:
            verb = _verb(accepting, "runs", "run")
            parts.append(format_html("{} {} all the same.", _names(accepting), verb))
        return format_html_join(" ", "{}", ((part,) for part in parts))

    def _goes_on(self, how: str) -> SafeString:
        if not self.next_steps:
            return format_html("<code>{}</code> completes {}.", self.gate, how)
        return format_html(
            "<code>{}</code> completes {}, and {} {} all the same.",
            self.gate,
            how,
            _names(self.next_steps),
            _verb(self.next_steps, "starts", "start"),
        )

    def _on_silence(self) -> SafeString:
        match self._silence.effect:
            case "nothing":
                return SafeString("It waits until somebody decides.")
            case "approves" if self.next_steps:
                verb = _verb(self.next_steps, "starts", "start")
                return format_html("and {} {}.", _names(self.next_steps), verb)
            case "approves":
                return SafeString("and the answer is recorded as MGX’s own.")
            case "continues":
                return self._goes_on("with the answer “timed out”")
            case "escalates":
                return format_html("{} may decide as well, with as much time again.", self._wider())
            case "leads_on":
                return self._leads_to(self._rules["on_timeout"])
            case "fails" if self.gate:
                return self._failure()
            case _:
                return SafeString("Nobody can decide it any more.")


def _next_steps(
    top: list[dict[str, Any]],
    blocks: list[Mapping[str, Any]],
    gate: str,
    suffix: str,
    done: Container[str],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The steps after a gate, and those of them that wait for nothing else.

    Where none follows inside its block, they are those after the block, which has to end first.
    """
    name, is_innermost = gate, True
    for block in [*reversed(blocks), None]:
        siblings = nested_of(block) if block else top
        edges = edges_inside(block) if block else edges_of(top)
        following = {target for source, target in edges if source == name}
        if following:
            steps = [step for step in siblings if step["name"] in following]
            waiting = {t for s, t in edges if s != name and f"{s}{suffix}" not in done}
            ready = [step for step in steps if is_innermost and step["name"] not in waiting]
            return steps, ready
        name, is_innermost = block["name"] if block else "", False
    return [], []


def silence_of(approval: WorkflowStepApproval) -> Silence:
    """What comes first if nobody decides: the approval by itself, or the expiry."""
    rules = approval.approval_metadata
    escalates_at = None
    if rules.get("escalate_after_seconds") and approval.escalated_at is None:
        escalates_at = moment_after(approval, rules["escalate_after_seconds"])
    is_stopped = approval.clock_stopped_at is not None
    if approval.auto_approve_after_seconds is not None:
        at = moment_after(approval, approval.auto_approve_after_seconds)
        return Silence("approves", at, escalates_at, is_stopped)
    if approval.expires_at is None:
        return Silence("nothing", None, escalates_at, is_stopped)
    return Silence(_at_expiry(approval), approval.expires_at, escalates_at, is_stopped)


def _at_expiry(approval: WorkflowStepApproval) -> Effect:
    on_timeout = approval.approval_metadata.get("on_timeout", "fail")
    if on_timeout == "escalate":
        return "escalates" if approval.escalated_at is None else "fails"
    words: dict[str, Effect] = {"fail": "fails", "approve": "approves", "continue": "continues"}
    return words.get(on_timeout, "leads_on")


def _names(steps: Iterable[Mapping[str, Any]]) -> SafeString:
    """Step names as one reads them: `a`, `b` and 3 more."""
    names = [step["name"] for step in steps]
    shown = names[:_NAMED_AT_MOST]
    codes = [format_html("<code>{}</code>", name) for name in shown]
    rest = len(names) - len(shown)
    if rest:
        codes.append(format_html("{} more", rest))
    if len(codes) == 1:
        return codes[0]
    return format_html(
        "{} and {}", format_html_join(", ", "{}", ((code,) for code in codes[:-1])), codes[-1]
    )


def _verb(steps: list[Any], one: str, many: str) -> str:
    return one if len(steps) == 1 else many
