"""What the page of one request shows: what MGX knows, what the agent wrote, who decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django.utils.safestring import SafeString

from approvals.models import ApprovalComment, ApprovalDecision, WorkflowStepApproval
from approvals.pages.following import Consequences, Following, Silence, silence_of
from approvals.pages.inbox import next_to
from approvals.pages.payload import render_markdown, render_payload
from approvals.pages.people import Person, who_decides
from approvals.rights import Eligibility, can_decide
from workflows.core.states import TERMINAL_STEP_STATUSES
from workflows.models import User
from workflows.pages import Reader
from workflows.pages.differences import Difference, find_differences
from workflows.pages.documents import show_json
from workflows.pages.graphs import draw_steps, edges_of, surroundings
from workflows.pages.run_steps import RunSteps
from workflows.picture import Node

RAW_LONGEST: Final = 200_000
NEAR: Final = timedelta(hours=1)


@dataclass(slots=True)
class DecisionForm:
    """The decision as it stands in the form.

    Attributes:
        errors: what is wrong, by field; the empty name is for the form as a whole.
    """

    outcome: str
    feedback: str
    errors: dict[str, str]


class RequestPage:
    """One request, as `reader` sees it at `now`."""

    def __init__(
        self,
        approval: WorkflowStepApproval,
        reader: Reader,
        now: datetime,
        form: DecisionForm,
    ) -> None:
        self.approval = approval
        self.reader = reader
        self.now = now
        self.form = form
        run = approval.workflow_execution
        self._steps = RunSteps(run, now) if run else None

    # --- what MGX knows

    @cached_property
    def following(self) -> Following:
        steps = self._steps
        if steps is None or self.approval.workflow_execution is None:
            return Following(self.approval, None)
        done = {row.name for row in steps.latest() if row.status in TERMINAL_STEP_STATUSES}
        return Following(self.approval, self.approval.workflow_execution.version.definition, done)

    @cached_property
    def consequences(self) -> Consequences:
        return self.following.consequences()

    @cached_property
    def silence(self) -> Silence:
        return silence_of(self.approval)

    @property
    def is_open(self) -> bool:
        """Whether it can still be decided: a passed expiry ends it, swept or not."""
        approval = self.approval
        is_expired = approval.expires_at is not None and approval.expires_at <= self.now
        run = approval.workflow_execution
        return approval.status == "pending" and not is_expired and not (run and run.is_ended)

    @property
    def is_near(self) -> bool:
        """Whether silence acts within the hour."""
        at = self.silence.at
        return self.is_open and at is not None and at <= self.now + NEAR

    @cached_property
    def eligibility(self) -> Eligibility:
        return can_decide(self.reader.user, self.approval)

    @property
    def may_decide(self) -> bool:
        return self.is_open and self.eligibility.allowed

    @cached_property
    def sources(self) -> list[tuple[str, str]]:
        """The steps whose results are shown, each with the agent that ran it, if one did."""
        if self._steps is None:
            return []
        names = self._steps.needs_of(self.following.gate)
        return [(name, self._steps.step(name).agent) for name in names]

    @property
    def writer(self) -> str:
        """Who wrote what stands in the frame."""
        agents = [agent for _, agent in self.sources if agent]
        if agents:
            return " and ".join(dict.fromkeys(agents))
        if self.sources:
            return " and ".join(name for name, _ in self.sources)
        user: User | None = self.approval.requested_by
        return (user.get_full_name() or user.get_username()) if user else "MGX’s caller"

    def picture(self) -> str:
        """The workflow with the gate in it; empty for a request that belongs to no run."""
        if self._steps is None:
            return ""
        gate = self.following.top_gate
        names, edges = surroundings(
            tuple(self._steps.definitions), edges_of(self._steps.definitions.values()), gate
        )
        nodes = [self._node(name, is_gate=name == gate) for name in names]
        return draw_steps(nodes, edges, title="The steps around this request", prefix="gate")

    @property
    def is_whole(self) -> bool:
        """Whether the picture shows every step of the run."""
        if self._steps is None:
            return True
        names = tuple(self._steps.definitions)
        edges = edges_of(self._steps.definitions.values())
        return surroundings(names, edges, self.following.top_gate)[0] == names

    def _node(self, name: str, *, is_gate: bool) -> Node:
        assert self._steps is not None
        step = self._steps.step(name)
        label = step.word
        if is_gate and self.is_open:
            label = "Waiting for you" if self.may_decide else "Waiting"
        elif step.row is None and any(s["name"] == name for s in self.following.ready_steps):
            label = "Starts next" if self.is_open else step.word
        return Node(
            name=name,
            step_type=step.step_type,
            status=step.status,
            label=label,
            note=str(step.definition.get("description") or ""),
            href=self._steps.href(name),
            is_current=is_gate,
        )

    # --- what the agent wrote

    @cached_property
    def has_fixed_description(self) -> bool:
        """Whether the description is the workflow's own text, with nothing put in."""
        if self._steps is None:
            return False
        gate = self._steps.every.get(self._steps.defined_name(self.following.gate), {})
        template = ((gate.get("config") or {}).get("approval") or {}).get("description") or ""
        return bool(template) and "${" not in template and template == self.approval.description

    @property
    def description(self) -> SafeString:
        """The description as Markdown, where something was put into it."""
        if self.has_fixed_description or not self.approval.description:
            return SafeString("")
        return render_markdown(self.approval.description)

    @property
    def payload(self) -> SafeString:
        return render_payload(self.approval.approval_data)

    @property
    def raw(self) -> str:
        return show_json(self.approval.approval_data, RAW_LONGEST)

    @cached_property
    def differences(self) -> list[Difference]:
        """What changed since the revision before; empty for a first one."""
        parent = self.approval.parent_approval
        if parent is None:
            return []
        return find_differences(parent.approval_data, self.approval.approval_data)

    # --- people and history

    @cached_property
    def decisions(self) -> list[ApprovalDecision]:
        return list(self.approval.decisions.select_related("user"))

    @cached_property
    def people(self) -> list[Person]:
        return who_decides(self.approval, self.reader.user, self.decisions)

    @cached_property
    def comments(self) -> list[ApprovalComment]:
        return list(self.approval.comments.select_related("author"))

    @cached_property
    def place(self) -> dict[str, Any]:
        """Where it stands among what waits for the reader, and its neighbours."""
        found, index = next_to(self.reader, self.approval.pk)
        before = found[index - 1] if index > 0 else None
        after = found[index + 1] if 0 <= index < len(found) - 1 else None
        if index < 0 and found:
            after = found[0]
        return {"number": index + 1, "count": len(found), "previous": before, "next": after}


def read_form(asked: Mapping[str, str]) -> DecisionForm:
    """The form as it was posted, or as a link chose it (`?choice=`)."""
    outcome = asked.get("outcome") or asked.get("choice") or ""
    known = ("approved", "request_changes", "rejected")
    return DecisionForm(outcome if outcome in known else "", asked.get("feedback", ""), {})


def read_revision(text: str) -> int:
    """The revision that a form was about; 0, which none has, where it says none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def read_ids(texts: list[str], at_most: int) -> list[UUID]:
    """The identifiers among what was sent, in order, each once."""
    found = []
    for text in texts[:at_most]:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return list(dict.fromkeys(found))
