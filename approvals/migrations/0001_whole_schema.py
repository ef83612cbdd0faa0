"""The tables as they stand after the migrations that this replaces, each made in one step.

A new database takes this; one that has any of those goes on with them. Its name sorts behind the
first of them, which `__first__` has to mean.
"""

import django.db.models.deletion
import workflows.core.ids
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [
        ("approvals", "0001_requests_and_decisions"),
        ("approvals", "0002_fewer_indexes_on_requests"),
        ("approvals", "0003_rules_questions_grants_notifications"),
    ]

    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("workflows", "0001_whole_schema"),
    ]

    operations = [
        migrations.CreateModel(
            name="DecisionChain",
            fields=[
                (
                    "workspace",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="decision_chain",
                        serialize=False,
                        to="workflows.workspace",
                    ),
                ),
                ("length", models.BigIntegerField(default=0)),
                ("head", models.CharField(blank=True, max_length=64)),
            ],
        ),
        migrations.CreateModel(
            name="StandingGrant",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("step_name", models.CharField(blank=True, max_length=200)),
                ("predicate", models.TextField(blank=True)),
                ("note", models.CharField(blank=True, max_length=500)),
                ("max_uses", models.PositiveIntegerField()),
                ("uses", models.PositiveIntegerField(default=0)),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "granted_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="grants",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workflow",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="grants",
                        to="workflows.workflow",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="grants",
                        to="workflows.workspace",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("max_uses__gt", 0), ("uses__lte", models.F("max_uses"))
                        ),
                        name="grant_within_its_limit",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="WorkflowStepApproval",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Waiting for approval"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("request_changes", "Changes requested"),
                            ("cancelled", "Cancelled"),
                            ("timeout", "Timed out"),
                        ],
                        default="pending",
                        max_length=20,
                    ),
                ),
                ("title", models.CharField(max_length=500)),
                ("description", models.TextField(blank=True)),
                ("approval_data", models.JSONField(default=dict)),
                ("digest", models.CharField(max_length=64)),
                (
                    "risk",
                    models.CharField(
                        choices=[("low", "Low"), ("medium", "Medium"), ("high", "High")],
                        default="medium",
                        max_length=10,
                    ),
                ),
                ("feedback", models.TextField(blank=True)),
                ("response_data", models.JSONField(null=True)),
                ("requested_at", models.DateTimeField()),
                ("responded_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                ("auto_approve_after_seconds", models.PositiveIntegerField(null=True)),
                ("required_approvers", models.JSONField(default=list)),
                ("prevent_self_approval", models.BooleanField(default=False)),
                ("approval_metadata", models.JSONField(default=dict)),
                ("revision_count", models.PositiveIntegerField(default=0)),
                ("clock_stopped_at", models.DateTimeField(null=True)),
                ("stood_still_seconds", models.FloatField(db_default=0.0, default=0.0)),
                ("reminded_seconds", models.PositiveIntegerField(db_default=0, default=0)),
                ("escalated_at", models.DateTimeField(null=True)),
                (
                    "callback_url",
                    models.URLField(blank=True, db_default="", default="", max_length=2000),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "approved_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "parent_approval",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="revisions",
                        to="approvals.workflowstepapproval",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="approvals",
                        to="workflows.project",
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "step_execution",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="approvals",
                        to="workflows.workflowstepexecution",
                    ),
                ),
                (
                    "workflow_execution",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="approvals",
                        to="workflows.workflowexecution",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals",
                        to="workflows.workspace",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_step_approvals",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["workspace", "expires_at", "id"],
                        name="approval_pending",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["id"],
                        name="approval_open",
                    ),
                    models.Index(
                        condition=models.Q(("required_approvers", []), ("status", "pending")),
                        fields=["workspace"],
                        name="approval_for_anyone",
                    ),
                    models.Index(
                        condition=models.Q(("status", "pending"), _negated=True),
                        fields=["workspace", "-responded_at", "-id"],
                        name="approval_decided",
                    ),
                    models.Index(
                        condition=models.Q(("parent_approval__isnull", False)),
                        fields=["parent_approval"],
                        name="approval_revisions",
                    ),
                    models.Index(fields=["workspace", "-requested_at"], name="approval_recent"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "pending")),
                        fields=("step_execution",),
                        name="approval_one_pending_a_step",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "pending",
                                    "approved",
                                    "rejected",
                                    "request_changes",
                                    "cancelled",
                                    "timeout",
                                ],
                            )
                        ),
                        name="approval_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("responded_at__isnull", True), ("status", "pending")),
                            models.Q(
                                models.Q(("status", "pending"), _negated=True),
                                ("responded_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="approval_responded_when_decided",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ApprovalApprover",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("viewer", "Viewer"),
                            ("operator", "Operator"),
                            ("approver", "Approver"),
                            ("editor", "Editor"),
                            ("admin", "Admin"),
                        ],
                        max_length=20,
                    ),
                ),
                ("name", models.CharField(blank=True, db_default="", default="", max_length=200)),
                ("is_escalation", models.BooleanField(db_default=False, default=False)),
                (
                    "group",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="auth.group",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "approval",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="approvers",
                        to="approvals.workflowstepapproval",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("user__isnull", False)),
                        fields=["user", "approval"],
                        name="approver_user",
                    ),
                    models.Index(
                        condition=models.Q(("group__isnull", False)),
                        fields=["group", "approval"],
                        name="approver_group",
                    ),
                    models.Index(
                        condition=models.Q(("role", ""), _negated=True),
                        fields=["role", "approval"],
                        name="approver_role",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("group__isnull", True), ("role", ""), ("user__isnull", False)
                            ),
                            models.Q(
                                ("group__isnull", False), ("role", ""), ("user__isnull", True)
                            ),
                            models.Q(
                                ("group__isnull", True),
                                ("user__isnull", True),
                                models.Q(("role", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="approver_is_one_thing",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ApprovalComment",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("body", models.TextField()),
                ("created_at", models.DateTimeField()),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "approval",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="comments",
                        to="approvals.workflowstepapproval",
                    ),
                ),
            ],
            options={
                "ordering": ["created_at"],
            },
        ),
        migrations.CreateModel(
            name="ApprovalDecision",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("record_number", models.BigIntegerField(null=True)),
                (
                    "previous_hash",
                    models.CharField(blank=True, db_default="", default="", max_length=64),
                ),
                ("hash", models.CharField(blank=True, db_default="", default="", max_length=64)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("request_changes", "Changes requested"),
                            ("timeout", "Timed out"),
                            ("retracted", "Retracted"),
                        ],
                        max_length=20,
                    ),
                ),
                ("stands_for", models.JSONField(db_default=[], default=list)),
                ("comment", models.TextField(blank=True)),
                ("response_data", models.JSONField(null=True)),
                ("edited_data", models.JSONField(null=True)),
                ("digest", models.CharField(max_length=64)),
                ("revision", models.PositiveIntegerField(default=1)),
                (
                    "door",
                    models.CharField(
                        choices=[
                            ("page", "Page"),
                            ("admin", "Admin"),
                            ("api", "API"),
                            ("link", "Link"),
                            ("grant", "Standing grant"),
                            ("system", "System"),
                        ],
                        max_length=10,
                    ),
                ),
                ("is_final", models.BooleanField(default=True)),
                ("decided_at", models.DateTimeField()),
                (
                    "on_behalf_of",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "retracts",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.RESTRICT,
                        related_name="retraction",
                        to="approvals.approvaldecision",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.workspace",
                    ),
                ),
                (
                    "grant",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.RESTRICT,
                        related_name="decisions",
                        to="approvals.standinggrant",
                    ),
                ),
                (
                    "approval",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="decisions",
                        to="approvals.workflowstepapproval",
                    ),
                ),
            ],
            options={
                "ordering": ["decided_at"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_final", True)),
                        fields=("approval",),
                        name="approval_one_final_decision",
                    ),
                    models.UniqueConstraint(
                        fields=("workspace", "record_number"),
                        name="decision_number_unique_in_workspace",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "outcome__in",
                                ["approved", "rejected", "request_changes", "timeout", "retracted"],
                            )
                        ),
                        name="decision_outcome_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("door", "system"), ("user__isnull", True)),
                            models.Q(
                                models.Q(("door", "system"), _negated=True), ("user__isnull", False)
                            ),
                            _connector="OR",
                        ),
                        name="decision_of_a_person_or_the_system",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ApprovalLink",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "approval",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="links",
                        to="approvals.workflowstepapproval",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ApprovalQuestion",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("body", models.TextField()),
                ("asked_at", models.DateTimeField()),
                ("answer", models.TextField(blank=True)),
                ("answered_at", models.DateTimeField(null=True)),
                (
                    "answered_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "asked_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "approval",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="questions",
                        to="approvals.workflowstepapproval",
                    ),
                ),
            ],
            options={
                "ordering": ["asked_at"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("answer", ""),
                                ("answered_at__isnull", True),
                                ("answered_by__isnull", True),
                            ),
                            models.Q(
                                ("answered_at__isnull", False),
                                ("answered_by__isnull", False),
                                models.Q(("answer", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="question_answered_by_someone",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SeenApproval",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("seen_at", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "approval",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="seen",
                        to="approvals.workflowstepapproval",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("approval", "user"), name="seen_once_a_person")
                ],
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("event_seq", models.BigIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("request", "A request waits for me"),
                            ("reminder", "A request still waits for me"),
                            ("escalation", "A request was escalated to me"),
                            ("question", "I am asked a question, or mine is answered"),
                            ("outcome", "What I asked for is decided"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "channel",
                    models.CharField(
                        choices=[("email", "E-mail"), ("browser", "Browser")], max_length=10
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("sent", "Sent"),
                            ("skipped", "Not needed any more"),
                            ("failed", "Failed"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("due_at", models.DateTimeField(null=True)),
                ("sent_at", models.DateTimeField(null=True)),
                ("error", models.TextField(blank=True)),
                ("created_at", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to="workflows.workspace",
                    ),
                ),
                (
                    "approval",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to="approvals.workflowstepapproval",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)),
                        fields=["due_at"],
                        name="notification_due",
                    ),
                    models.Index(
                        condition=models.Q(("status", "failed")),
                        fields=["created_at"],
                        name="notification_failed",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("workspace", "event_seq", "user", "channel"),
                        name="notification_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="LineComment",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("path", models.CharField(max_length=500)),
                (
                    "side",
                    models.CharField(
                        choices=[("old", "Before"), ("new", "After")], default="new", max_length=3
                    ),
                ),
                ("line", models.PositiveIntegerField()),
                ("body", models.TextField()),
                ("digest", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField()),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "approval",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="line_comments",
                        to="approvals.workflowstepapproval",
                    ),
                ),
            ],
            options={
                "ordering": ["path", "line", "created_at"],
            },
        ),
        migrations.CreateModel(
            name="FileReview",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("path", models.CharField(max_length=500)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("request_changes", "Changes requested"),
                        ],
                        max_length=20,
                    ),
                ),
                ("comment", models.TextField(blank=True)),
                ("digest", models.CharField(max_length=64)),
                ("reviewed_at", models.DateTimeField()),
                (
                    "reviewer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "approval",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="file_reviews",
                        to="approvals.workflowstepapproval",
                    ),
                ),
            ],
            options={
                "ordering": ["path"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("approval", "path", "reviewer"), name="file_review_one_a_person"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("outcome__in", ["approved", "rejected", "request_changes"])
                        ),
                        name="file_review_outcome_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Delegation",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "delegate",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="delegations_held",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "delegator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="delegations_given",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="delegations",
                        to="workflows.workspace",
                    ),
                ),
                (
                    "approval",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="delegations",
                        to="approvals.workflowstepapproval",
                    ),
                ),
            ],
            options={
                "ordering": ["-starts_at"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("delegator", models.F("delegate")), _negated=True),
                        name="delegation_to_another_person",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("approval__isnull", False), ("ends_at__isnull", True)),
                            ("ends_at__gt", models.F("starts_at")),
                            _connector="OR",
                        ),
                        name="delegation_has_an_end",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="NotificationPreference",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("request", "A request waits for me"),
                            ("reminder", "A request still waits for me"),
                            ("escalation", "A request was escalated to me"),
                            ("question", "I am asked a question, or mine is answered"),
                            ("outcome", "What I asked for is decided"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "channel",
                    models.CharField(
                        choices=[("email", "E-mail"), ("browser", "Browser")], max_length=10
                    ),
                ),
                ("is_on", models.BooleanField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notification_preferences",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "kind", "channel"), name="notification_preference_once"
                    )
                ],
            },
        ),
    ]
