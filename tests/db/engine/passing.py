"""Time that has passed: moments are moved back, and what is due then is fired."""

from datetime import timedelta

from django.db import transaction
from django.db.models import F

from approvals.models import Delegation, StandingGrant, WorkflowStepApproval
from workflows.clock import database_now
from workflows.engine import timers
from workflows.events import append_events
from workflows.models import Timer


def let_pass(seconds: float) -> list[str]:
    """Move every moment of requests and of rights given ahead; return what is fired then."""
    by = timedelta(seconds=seconds)
    Timer.objects.update(due_at=F("due_at") - by)
    WorkflowStepApproval.objects.update(
        requested_at=F("requested_at") - by,
        expires_at=F("expires_at") - by,
        clock_stopped_at=F("clock_stopped_at") - by,
    )
    Delegation.objects.update(starts_at=F("starts_at") - by, ends_at=F("ends_at") - by)
    StandingGrant.objects.update(expires_at=F("expires_at") - by)
    return fire()


def fire() -> list[str]:
    """Fire what is due, each kind in a transaction of its own; return the types of its events."""
    now = database_now()
    fired = []
    while Timer.objects.filter(due_at__lte=now).exists():
        with transaction.atomic():
            drafts = timers.fire_due(now, 500)
            append_events(drafts, now)
        fired += [draft.event_type.value for draft in drafts]
    return fired
