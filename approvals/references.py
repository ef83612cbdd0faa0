"""The names of approvers in a definition or a request, and whom they stand for.

A username or a user's id; ``group:NAME``; ``role:NAME``, which means that role and those above.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import Group
from django.db.models import Q

from workflows.models import Role, User, Workspace


@dataclass(frozen=True, slots=True)
class Approver:
    """Whom a name stands for: exactly one of a user, a group, a role."""

    user_id: int | None = None
    group_id: int | None = None
    role: str = ""


def check_approvers(names: Collection[str], *, workspace: Workspace) -> set[str]:
    """Return those of ``names`` that stand for nobody who could decide in ``workspace``.

    Users must be active members with the role approver or a higher one, groups must have one.
    """
    return set(names) - resolve_approvers(names, workspace_id=workspace.pk, only_active=True).keys()


def resolve_approvers(
    names: Iterable[str], *, workspace_id: UUID, only_active: bool = False
) -> dict[str, Approver]:
    """Return whom each of ``names`` stands for; those that stand for nobody are left out."""
    wanted = set(names)
    found: dict[str, Approver] = {}
    for name in wanted:
        kind, _, rest = name.partition(":")
        if kind == "role" and rest in Role.values:
            found[name] = Approver(role=rest)
    found |= _groups(wanted, workspace_id, only_active=only_active)
    found |= _users(wanted - found.keys(), workspace_id, only_active=only_active)
    return found


def _groups(names: set[str], workspace_id: UUID, *, only_active: bool) -> dict[str, Approver]:
    asked = {name.removeprefix("group:") for name in names if name.startswith("group:")}
    if not asked:
        return {}
    groups = Group.objects.filter(name__in=asked)
    if only_active:
        groups = groups.filter(
            user__is_active=True,
            user__memberships__workspace_id=workspace_id,
            user__memberships__role__in=Role.from_(Role.APPROVER),
        ).distinct()
    return {f"group:{group.name}": Approver(group_id=group.pk) for group in groups}


def _users(names: set[str], workspace_id: UUID, *, only_active: bool) -> dict[str, Approver]:
    if not names:
        return {}
    ids = {int(name) for name in names if name.isascii() and name.isdecimal() and len(name) < 19}
    # In one condition: a role in another workspace gives no right in this one.
    member: dict[str, object] = {"memberships__workspace_id": workspace_id}
    if only_active:
        member |= {"is_active": True, "memberships__role__in": Role.from_(Role.APPROVER)}
    users = User.objects.filter(Q(username__in=names) | Q(id__in=ids), **member)
    found = {}
    for user in users:
        for name in (str(user.pk), user.username):  # a username of digits wins over an id
            if name in names:
                found[name] = Approver(user_id=user.pk)
    return found
