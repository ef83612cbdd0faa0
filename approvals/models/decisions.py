"""Every decision that was taken, and the chain that shows that none was changed."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.models.requests import WorkflowStepApproval
from approvals.models.standing import StandingGrant
from workflows.core.ids import uuid7
from workflows.models import Workspace


class Outcome(models.TextChoices):
    """What a person, or the system for them, decides."""

    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    REQUEST_CHANGES = "request_changes", "Changes requested"
    TIMEOUT = "timeout", "Timed out"
    RETRACTED = "retracted", "Retracted"


class Door(models.TextChoices):
    """Through which door a decision came."""

    PAGE = "page", "Page"
    ADMIN = "admin", "Admin"
    API = "api", "API"
    LINK = "link", "Link"
    GRANT = "grant", "Standing grant"
    SYSTEM = "system", "System"


class ApprovalDecision(models.Model):
    """One decision, as it was taken: who, what, on which digest, when, through which door.

    ``is_final`` marks the one that ended the request; of several that are needed only the last
    is. ``user`` is null for the system's own. ``stands_for``: the entries of the approvers whose
    place the person takes; ``on_behalf_of``: whose delegate they were. ``edited_data`` is the
    payload as this decision left it, if it changed it.

    Rows are never changed: taking a decision back adds one that ``retracts`` it. Those of a
    workspace are numbered from 1, and each ``hash`` covers the one before it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    approval = models.ForeignKey(
        WorkflowStepApproval, on_delete=models.CASCADE, related_name="decisions"
    )
    workspace = models.ForeignKey(
        Workspace, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    record_number = models.BigIntegerField(null=True)
    previous_hash = models.CharField(max_length=64, blank=True, default="", db_default="")
    hash = models.CharField(max_length=64, blank=True, default="", db_default="")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    outcome = models.CharField(max_length=20, choices=Outcome.choices)
    on_behalf_of = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
    )
    stands_for = models.JSONField(default=list, db_default=[])
    grant = models.ForeignKey(
        StandingGrant, on_delete=models.RESTRICT, null=True, related_name="decisions"
    )
    retracts = models.OneToOneField(
        "self", on_delete=models.RESTRICT, null=True, related_name="retraction"
    )
    comment = models.TextField(blank=True)
    response_data = models.JSONField(null=True)
    edited_data = models.JSONField(null=True)
    digest = models.CharField(max_length=64)
    revision = models.PositiveIntegerField(default=1)
    door = models.CharField(max_length=10, choices=Door.choices)
    is_final = models.BooleanField(default=True)
    decided_at = models.DateTimeField()

    class Meta:
        ordering = ["decided_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["approval"], condition=Q(is_final=True), name="approval_one_final_decision"
            ),
            models.UniqueConstraint(
                fields=["workspace", "record_number"], name="decision_number_unique_in_workspace"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=Outcome.values), name="decision_outcome_known"
            ),
            models.CheckConstraint(
                condition=Q(door="system", user__isnull=True)
                | (~Q(door="system") & Q(user__isnull=False)),
                name="decision_of_a_person_or_the_system",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user or 'MGX'}: {self.outcome}"


class DecisionChain(models.Model):
    """How many decisions a workspace has on record, and the hash of the newest."""

    workspace = models.OneToOneField(
        Workspace, on_delete=models.CASCADE, primary_key=True, related_name="decision_chain"
    )
    length = models.BigIntegerField(default=0)
    head = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        return f"{self.workspace} at {self.length}"
