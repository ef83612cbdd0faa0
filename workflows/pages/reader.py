"""Who reads a page, in which workspace, and up to which event the page is true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from workflows.models import Membership, Role, User, Workspace
from workflows.pages.answers import refuse_as_page

#: Where the session keeps the slug of the workspace that was last looked at.
SESSION_KEY = "workspace"

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Reader:
    """A person at a page.

    `live_cursor` is the last event that had happened when the request came: the page's socket goes
    on from there, so that nothing falls between the page and its first live event.
    """

    user: User
    workspace: Workspace
    role: Role
    live_cursor: int
    memberships: tuple[Membership, ...]

    @property
    def workspaces(self) -> list[Workspace]:
        """Every workspace that the reader can turn to."""
        return [each.workspace for each in self.memberships]

    def may(self, role: Role) -> bool:
        """Tell whether the reader's role is `role` or one above it."""
        return self.role.rank >= role.rank

    @property
    def live_url(self) -> str:
        """The address of the workspace's event stream."""
        return "/ws/events/?" + urlencode({"workspace": self.workspace.slug})


class PageRequest(HttpRequest):
    """A request that `page` has let through."""

    user: User
    reader: Reader


def page(
    view: Callable[Concatenate[PageRequest, P], HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Make a view a page of a workspace: sign-in first, and `request.reader` is who reads it.

    `?workspace=SLUG` changes the workspace, and the session remembers it. What the services refuse
    becomes the page for it: 404 for what the reader does not see, 403 for what they may not do.
    """

    @login_required
    @wraps(view)
    def wrapped(request: Any, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        memberships = _memberships(request.user)
        if not memberships:
            return render(request, "workflows/no_workspace.html")
        wanted = request.GET.get("workspace") or request.session.get(SESSION_KEY)
        by_slug = {each.workspace.slug: each for each in memberships}
        _turn_to(request, by_slug.get(wanted, memberships[0]), memberships)
        with refuse_as_page():
            return view(request, *args, **kwargs)

    return wrapped


def enter_workspace(request: PageRequest, workspace_id: UUID) -> None:
    """Turn the page to the workspace of what it shows."""
    memberships = request.reader.memberships
    for membership in memberships:
        if membership.workspace_id == workspace_id:
            _turn_to(request, membership, memberships)


def _memberships(user: User) -> tuple[Membership, ...]:
    return tuple(
        Membership.objects.filter(user=user)
        .select_related("workspace__event_stream")
        .order_by("workspace__name", "workspace_id")
    )


def _turn_to(request: PageRequest, chosen: Membership, memberships: tuple[Membership, ...]) -> None:
    stream = getattr(chosen.workspace, "event_stream", None)
    request.reader = Reader(
        user=request.user,
        workspace=chosen.workspace,
        role=Role(chosen.role),
        live_cursor=stream.last_seq if stream else 0,
        memberships=memberships,
    )
    if request.session.get(SESSION_KEY) != chosen.workspace.slug:
        request.session[SESSION_KEY] = chosen.workspace.slug
