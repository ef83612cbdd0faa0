"""Reads: every one starts at ``visible_to(user)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.db import models

from workflows.core.states import LIVE_EXECUTION_STATUSES

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    Reader = AbstractBaseUser | AnonymousUser


def memberships_of(user: Reader) -> models.Q:
    """Return the condition on a workspace that ``user``, if active, is a member of it."""
    return models.Q(memberships__user_id=user.pk, memberships__user__is_active=True)


class WorkspaceQuerySet(models.QuerySet[Any]):
    def visible_to(self, user: Reader) -> Self:
        """Workspaces that ``user`` is a member of."""
        return self.filter(memberships_of(user)) if user.pk else self.none()


class InWorkspaceQuerySet(models.QuerySet[Any]):
    """Rows that belong to a workspace by a column ``workspace_id``."""

    def visible_to(self, user: Reader) -> Self:
        """Rows of the workspaces that ``user`` is a member of."""
        from workflows.models.tenants import Workspace

        return self.filter(workspace_id__in=Workspace.objects.visible_to(user).values("id"))

    def of_workspace(self, slug: str) -> Self:
        return self.filter(workspace__slug=slug)


class WorkflowQuerySet(InWorkspaceQuerySet):
    def published(self) -> Self:
        return self.filter(published_version__isnull=False)


class ScheduleQuerySet(models.QuerySet[Any]):
    def visible_to(self, user: Reader) -> Self:
        """Schedules of workflows in the workspaces that ``user`` is a member of."""
        from workflows.models.tenants import Workspace

        return self.filter(
            workflow__workspace_id__in=Workspace.objects.visible_to(user).values("id")
        )


class ExecutionQuerySet(InWorkspaceQuerySet):
    def live(self) -> Self:
        """Executions that have not ended."""
        return self.filter(status__in=LIVE_EXECUTION_STATUSES)


class StepExecutionQuerySet(models.QuerySet[Any]):
    def visible_to(self, user: Reader) -> Self:
        """Steps of executions in the workspaces that ``user`` is a member of."""
        from workflows.models.tenants import Workspace

        return self.filter(
            execution__workspace_id__in=Workspace.objects.visible_to(user).values("id")
        )


class EventQuerySet(InWorkspaceQuerySet):
    def after(self, seq: int) -> Self:
        return self.filter(seq__gt=seq)

    def of_execution(self, execution_id: UUID) -> Self:
        return self.filter(workflow_execution_id=execution_id)
