"""Rights given ahead: who stands in for whom, what is approved ahead, and the forms for both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from approvals.models import Delegation, StandingGrant
from workflows.core.errors import Problem
from workflows.models import Membership, Role, User, Workflow
from workflows.pages import Reader
from workflows.services.open_steps import every_step

_SHOWN_AT_MOST: Final = 200
_PAST_AT_MOST: Final = 20
#: Between the id of a workflow and the name of its step, in what the form posts.
_STEP: Final = "/"


@dataclass(slots=True)
class GivenForm:
    """What was typed, and what is wrong with it, each by the name of its field."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return what stands in a field."""
        return self.values.get(name, "").strip().replace("\r\n", "\n")

    def moment(self, name: str) -> datetime | None:
        """Return a moment in the reader's zone; what cannot be read is marked."""
        text = self.text(name)
        if not text:
            return None
        try:
            return timezone.make_aware(datetime.fromisoformat(text).replace(tzinfo=None))
        except (ValueError, OverflowError):
            self.errors[name] = "Enter a date and a time."
            return None

    def needed_moment(self, name: str) -> datetime | None:
        """Return a moment; that there is none is marked too."""
        moment = self.moment(name)
        if moment is None:
            self.errors.setdefault(name, "Enter a date and a time.")
        return moment

    def number(self, name: str) -> int:
        """Return a whole number; what is none is marked."""
        text = self.text(name)
        if text.isascii() and text.isdecimal() and len(text) < 10:
            return int(text)
        self.errors[name] = "Enter a whole number."
        return 0

    def mark(self, message: str, problems: Iterable[Problem]) -> None:
        """Write what a service refused beside its field, or above them all."""
        for problem in problems:
            self.errors[problem.path.removeprefix("/")] = problem.message
        if not self.errors:
            self.errors["form"] = message


@dataclass(frozen=True, slots=True)
class Row:
    """A delegation or a grant, the word for its state, and whether the reader may take it back."""

    given: Any
    state: str
    is_revocable: bool


@dataclass(frozen=True, slots=True)
class Gates:
    """A workflow that asks for approval, with the names of the steps that do."""

    workflow: Workflow
    steps: list[str]


class StandingPage:
    """What the page shows. A form is empty unless it was posted and refused."""

    def __init__(
        self,
        reader: Reader,
        now: datetime,
        *,
        absence: GivenForm | None = None,
        grant: GivenForm | None = None,
    ) -> None:
        self.absence = absence or GivenForm()
        self.grant = grant or GivenForm()
        self.may_give = reader.may(Role.APPROVER)
        self.zone = timezone.get_current_timezone_name()
        self._reader = reader
        self._now = now

    @property
    def absences(self) -> list[Row]:
        """Those that hold or will, the reader's own first."""
        lasting = self._delegations().lasting(self._now).order_by("starts_at", "id")
        rows = [self._row(each, each.delegator) for each in lasting[:_SHOWN_AT_MOST]]
        me = self._reader.user.pk
        return sorted(
            rows, key=lambda row: me not in (row.given.delegator_id, row.given.delegate_id)
        )

    @property
    def grants(self) -> list[Row]:
        """Those that can still be used, the reader's own first."""
        live = self._grants().live(self._now).order_by("expires_at", "id")
        rows = [self._row(each, each.granted_by) for each in live[:_SHOWN_AT_MOST]]
        return sorted(rows, key=lambda row: row.given.granted_by_id != self._reader.user.pk)

    @property
    def past_absences(self) -> list[Row]:
        """The latest of those that are over."""
        over = self._delegations().filter(Q(revoked_at__isnull=False) | Q(ends_at__lte=self._now))
        return [self._row(each, each.delegator) for each in over[:_PAST_AT_MOST]]

    @property
    def past_grants(self) -> list[Row]:
        """The latest of those that are used up or over."""
        live = StandingGrant.objects.live(self._now).values("id")
        over = self._grants().exclude(id__in=live)
        return [self._row(each, each.granted_by) for each in over[:_PAST_AT_MOST]]

    @property
    def members(self) -> list[User]:
        """Those who could stand in for the reader."""
        found = Membership.objects.filter(
            workspace=self._reader.workspace,
            role__in=Role.from_(Role.APPROVER),
            user__is_active=True,
        )
        others = found.exclude(user=self._reader.user).select_related("user")
        return [each.user for each in others.order_by("user__username")[:_SHOWN_AT_MOST]]

    @property
    def gates(self) -> list[Gates]:
        """The workflows whose requests can be approved ahead."""
        workflows = Workflow.objects.filter(
            workspace=self._reader.workspace, published_version__isnull=False
        ).select_related("published_version")
        found = []
        for workflow in workflows.order_by("name")[:_SHOWN_AT_MOST]:
            assert workflow.published_version is not None
            steps = every_step(workflow.published_version.definition)
            names = [step["name"] for step in steps if step["step_type"] == "approval"]
            if names:
                found.append(Gates(workflow, names))
        return found

    def chosen_gate(self) -> tuple[Workflow | None, str]:
        """Return which workflow, and which step of it, was chosen in the form for a grant."""
        named, _, step_name = self.grant.text("gate").partition(_STEP)
        workflow: Workflow | None = None
        if identifier := _as_uuid(named):
            found = Workflow.objects.visible_to(self._reader.user).filter(
                workspace=self._reader.workspace, id=identifier
            )
            workflow = found.select_related("published_version").first()
        if workflow is None:
            self.grant.errors["gate"] = "Choose what you approve ahead."
        return workflow, step_name

    def _row(self, given: Any, giver: User) -> Row:
        is_own = giver.pk == self._reader.user.pk
        is_over = given.revoked_at is not None
        return Row(
            given,
            state=_state(given, self._now),
            is_revocable=not is_over and (is_own or self._reader.may(Role.ADMIN)),
        )

    def _delegations(self) -> Any:
        rows = Delegation.objects.visible_to(self._reader.user)
        mine = rows.filter(workspace=self._reader.workspace)
        return mine.select_related("delegator", "delegate", "approval").defer(
            "approval__approval_data", "approval__response_data"
        )

    def _grants(self) -> Any:
        rows = StandingGrant.objects.visible_to(self._reader.user)
        mine = rows.filter(workspace=self._reader.workspace)
        return mine.select_related("granted_by", "workflow").defer(
            "workflow__config", "workflow__metadata"
        )


def _state(given: Any, now: datetime) -> str:
    if given.revoked_at is not None:
        return "Taken back"
    if isinstance(given, StandingGrant):
        if given.uses >= given.max_uses:
            return "Used up"
        return "Over" if given.expires_at <= now else "Counts now"
    if given.starts_at > now:
        return "To come"
    return "Over" if given.ends_at is not None and given.ends_at <= now else "Holds now"


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
