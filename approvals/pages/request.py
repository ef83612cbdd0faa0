"""What the page of one request shows: what MGX knows, what the agent wrote, who decides."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django.utils.safestring import SafeString

from approvals.models import ApprovalDecision, WorkflowStepApproval
from approvals.pages.asked import AskedByStep
from approvals.pages.changes import Changes, later_revision
from approvals.pages.conversation import Conversation
from approvals.pages.files import Files
from approvals.pages.following import Consequences, Following, Silence, silence_of
from approvals.pages.form import DecisionForm, ResponseForm
from approvals.pages.inbox import next_to
from approvals.pages.payload import render_markdown, render_payload
from approvals.pages.people import Person, say_rule, who_decides
from approvals.rights import Eligibility, can_decide
from approvals.services.retraction import can_retract
from approvals.tally import Tally, tally
from workflows.core.states import TERMINAL_STEP_STATUSES
from workflows.models import Membership, Role, User
from workflows.pages import Reader
from workflows.pages.documents import show_json
from workflows.pages.graphs import draw_steps, edges_of, surroundings
from workflows.pages.run_steps import RunSteps
from workflows.picture import BackEdge, Node

RAW_LONGEST: Final = 200_000
NEAR: Final = timedelta(hours=1)
DELEGATES_AT_MOST: Final = 500
BACK_WORDS: Final = "If you request changes"


class RequestPage:
    """One request, as `reader` sees it at `now`.

    Args:
        asked: the query of the address: `compare`, the revision to compare with, and what
            `Files` takes.
        refused_file: what was posted of a file and refused.
        must_sign_in: whether the decision needs the password again.
    """

    def __init__(
        self,
        approval: WorkflowStepApproval,
        reader: Reader,
        now: datetime,
        form: DecisionForm,
        *,
        asked: Mapping[str, str] | None = None,
        refused_file: Mapping[str, str] | None = None,
        must_sign_in: bool = False,
    ) -> None:
        self.approval = approval
        self.reader = reader
        self.now = now
        self.form = form
        self.must_sign_in = must_sign_in
        asked = asked or {}
        self.changes = Changes(approval, reader.user, read_revision(asked.get("compare", "")))
        self.files = Files(approval, reader.user, asked, refused_file)
        run = approval.workflow_execution
        self._steps = RunSteps(run, now) if run else None

    # --- what MGX knows

    @cached_property
    def following(self) -> Following:
        steps = self._steps
        missing = self.left_after_this
        if steps is None or self.approval.workflow_execution is None:
            return Following(self.approval, None, missing=missing)
        done = {row.name for row in steps.latest() if row.status in TERMINAL_STEP_STATUSES}
        definition = self.approval.workflow_execution.version.definition
        kind = AskedByStep if self.is_asked_by_step else Following
        return kind(self.approval, definition, done, missing)

    @property
    def is_asked_by_step(self) -> bool:
        """Whether a step stopped to ask this, which goes on with the answer."""
        return bool(self.approval.approval_metadata.get("asked_by_step"))

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
        is_expired = (
            approval.expires_at is not None
            and approval.clock_stopped_at is None
            and approval.expires_at <= self.now
        )
        run = approval.workflow_execution
        return approval.status == "pending" and not is_expired and not (run and run.is_ended)

    @property
    def is_stopped(self) -> bool:
        """Whether the clock stands still, for a question is open."""
        return self.is_open and self.approval.clock_stopped_at is not None

    @property
    def left_when_stopped(self) -> float | None:
        """How many seconds were left as the clock was stopped."""
        at, stopped_at = self.silence.at, self.approval.clock_stopped_at
        return (at - stopped_at).total_seconds() if at and stopped_at else None

    @property
    def is_near(self) -> bool:
        """Whether silence acts within the hour."""
        at = self.silence.at
        return self.is_open and not self.is_stopped and at is not None and at <= self.now + NEAR

    @cached_property
    def eligibility(self) -> Eligibility:
        return can_decide(self.reader.user, self.approval)

    @property
    def may_decide(self) -> bool:
        return self.is_open and self.eligibility.allowed

    @property
    def is_wanted(self) -> bool:
        """Whether the request waits for the reader: they may decide, and have not approved yet."""
        return self.may_decide and not self.has_voted

    @cached_property
    def sources(self) -> list[tuple[str, str]]:
        """The steps whose results are shown, each with the agent that ran it, if one did."""
        if self._steps is None:
            return []
        gate = self.following.gate
        names = [gate] if self.is_asked_by_step else self._steps.needs_of(gate)
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
        back = BackEdge(gate, self.approval.approval_metadata.get("revise", ""), BACK_WORDS)
        is_sent_back = back.target in names and not self.is_asked_by_step
        return draw_steps(
            nodes,
            edges,
            title="The steps around this request",
            prefix="gate",
            back_edges=[back] if is_sent_back and self.can_revise else [],
        )

    @property
    def can_revise(self) -> bool:
        """Whether changes can still be requested, and something is done anew then."""
        return self.is_open and bool(self.following.revisions_left)

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
            label = "Waiting for you" if self.is_wanted else "Waiting"
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
        if self.is_asked_by_step:
            return True
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
        """The content; files that can be reviewed stand by themselves."""
        data = self.approval.approval_data
        if self.files.files:
            data = {key: value for key, value in data.items() if key != "files"}
        return render_payload(data)

    @property
    def has_payload(self) -> bool:
        """Whether there is content beside the files."""
        return not self.files.files or len(self.approval.approval_data) > 1

    @property
    def raw(self) -> str:
        return show_json(self.approval.approval_data, RAW_LONGEST)

    @cached_property
    def edits(self) -> list[ApprovalDecision]:
        """The decisions that changed the content, the newest last."""
        return [each for each in self.decisions if each.edited_data is not None]

    # --- people and history

    @cached_property
    def decisions(self) -> list[ApprovalDecision]:
        """Every decision, taken back or not, in the order of the record."""
        return list(self.approval.decisions.all())

    @cached_property
    def final(self) -> ApprovalDecision | None:
        """The decision that ended the request."""
        return next((each for each in self.decisions if each.is_final), None)

    @cached_property
    def tally(self) -> Tally:
        return tally(self.approval)

    @property
    def rule(self) -> str:
        return say_rule(self.approval, self.reader.user)

    @cached_property
    def people(self) -> list[Person]:
        return who_decides(self.approval, self.reader.user, self.decisions, self.tally)

    @property
    def has_voted(self) -> bool:
        """Whether an approval of the reader is counted, and more are wanted."""
        user = self.reader.user
        return self.is_open and any(vote.user_id == user.pk for vote in self.tally.votes)

    @property
    def left_after_this(self) -> int:
        """How many approvals are still wanted once the reader has approved."""
        return max(0, self.tally.needed - self.tally.given - (not self.has_voted))

    @cached_property
    def can_retract(self) -> bool:
        """Whether the reader has decided, and nothing has gone on with it yet."""
        user = self.reader.user
        has_decided = any(each.user_id == user.pk for each in self.decisions)
        return has_decided and can_retract(self.approval, user)

    @cached_property
    def later(self) -> WorkflowStepApproval | None:
        """The request that asks anew after this one."""
        return None if self.approval.status == "pending" else later_revision(self.approval)

    @cached_property
    def conversation(self) -> Conversation:
        user = self.reader.user
        may_answer = self.approval.requested_by_id == user.pk or self.reader.may(Role.OPERATOR)
        may_answer = self.is_open and may_answer
        return Conversation(self.approval, self.decisions, self.form, may_answer=may_answer)

    @cached_property
    def delegates(self) -> list[User]:
        """Who could decide in the reader's place; empty where they cannot decide themselves."""
        if not self.may_decide:
            return []
        members = Membership.objects.filter(
            workspace=self.reader.workspace,
            role__in=Role.from_(Role.APPROVER),
            user__is_active=True,
        ).exclude(user__in=[self.reader.user.pk, self.approval.requested_by_id or 0])
        found = members.select_related("user").order_by("user__first_name", "user__username")
        return [member.user for member in found[:DELEGATES_AT_MOST]]

    # --- the form

    @cached_property
    def response(self) -> ResponseForm:
        return ResponseForm(self.approval, self.form)

    @property
    def response_json(self) -> str:
        """What was filled in as it was decided."""
        return show_json(self.approval.response_data)

    @cached_property
    def outcome(self) -> str:
        """What is chosen in the form: what the reader chose, or what their reviews come to."""
        return self.form.outcome or (self.files.rolled_up or "")

    @property
    def feedback(self) -> str:
        """What stands in the comment: what was posted, or what the reader wrote of the files."""
        return self.form.feedback if self.form.posted is not None else self.files.feedback

    @cached_property
    def place(self) -> dict[str, Any]:
        """Where it stands among what waits for the reader, and its neighbours."""
        found, index = next_to(self.reader, self.approval.pk)
        before = found[index - 1] if index > 0 else None
        after = found[index + 1] if 0 <= index < len(found) - 1 else None
        if index < 0 and found:
            after = found[0]
        return {"number": index + 1, "count": len(found), "previous": before, "next": after}


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
