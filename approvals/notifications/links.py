"""The link that a person gets to a request: it opens the page, and decides once, as that person.

The token in it is the id of a row, signed. Whoever holds it may read and decide as that person, so
it ends: with the decision, after some days, and with the person's right.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.core import signing
from django.db import transaction

from approvals.models import ApprovalLink, Door, WorkflowStepApproval
from approvals.services.decisions import Decision, DecisionResult, decide
from workflows.clock import database_now
from workflows.errors import Conflict, MgxError, NotPermitted
from workflows.models import Membership, User

LIVES: Final = timedelta(days=7)
_signer = signing.Signer(salt="approvals.link")


def link_for(approval: WorkflowStepApproval, user: User, now: datetime) -> ApprovalLink:
    """Return the person's link to a request, a new one if theirs is used or has ended."""
    links = ApprovalLink.objects.filter(approval=approval, user=user, used_at__isnull=True)
    link: ApprovalLink | None = links.filter(expires_at__gt=now).first()
    return link or ApprovalLink.objects.create(
        approval=approval, user=user, created_at=now, expires_at=now + LIVES
    )


def token_of(link: ApprovalLink) -> str:
    """Return what stands in the address of a link."""
    return _signer.sign(link.pk.hex)


def open_link(token: str) -> ApprovalLink:
    """Return the link of a token, with its request and its person.

    Raises:
        NotPermitted: ``altered_link``; ``inactive``, where the person is no member any more.
        Conflict: ``used_link`` or ``expired_link``, each with the ``approval_id``.
    """
    try:
        link_id = UUID(_signer.unsign(token))
    except (signing.BadSignature, ValueError):
        raise NotPermitted("This link is not as MGX wrote it.", code="altered_link") from None
    link = ApprovalLink.objects.select_related("user", "approval").filter(pk=link_id).first()
    if link is None:
        raise Conflict("What this link led to is gone.", code="expired_link")
    person = Membership.objects.filter(
        user=link.user_id, user__is_active=True, workspace=link.approval.workspace_id
    )
    if not person.exists():
        raise NotPermitted("This link is of somebody who has left.", code="inactive")
    _refuse_spent(link)
    return link


def decide_by_link(link: ApprovalLink, decision: Decision) -> DecisionResult:
    """Decide as the link's person, and use the link up; a decision that is refused does not.

    Raises as ``decide`` does, and Conflict ``used_link`` or ``expired_link``.
    """
    refusal: MgxError
    with transaction.atomic():
        now = database_now()
        fresh = ApprovalLink.objects.filter(pk=link.pk, used_at=None, expires_at__gt=now)
        if not fresh.update(used_at=now):
            _refuse_spent(ApprovalLink.objects.get(pk=link.pk))
        try:
            return decide(decision, user=link.user, door=Door.LINK)
        except MgxError as error:
            # Not out of here: what the refusal itself wrote, an expiry, is to stay.
            refusal = error
        ApprovalLink.objects.filter(pk=link.pk).update(used_at=None)
    raise refusal


def _refuse_spent(link: ApprovalLink) -> None:
    if link.used_at is not None:
        raise Conflict(
            "This link was used already.", code="used_link", approval_id=link.approval_id
        )
    if link.expires_at <= database_now():
        raise Conflict("This link has expired.", code="expired_link", approval_id=link.approval_id)
