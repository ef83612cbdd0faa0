"""What every view of the API shares: who may call it, what it reads, how it answers."""

from collections.abc import Iterable, Mapping
from typing import Any, cast
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from rest_framework.generics import GenericAPIView
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.mediatypes import media_type_matches

from workflows.api.parsers import admit_body
from workflows.api.permissions import HasScope
from workflows.api.request_id import HEADER, request_id
from workflows.core.errors import Problem
from workflows.errors import InvalidInput, NotVisible
from workflows.models import Project, User, Workspace


class OnlyFormat(BaseContentNegotiation):
    """The API speaks one format, whatever a client says it would rather have."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        sent = request.content_type or ""
        return next((p for p in parsers if media_type_matches(p.media_type, sent)), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[Any], format_suffix: str | None = None
    ) -> tuple[Any, str]:
        only = next(iter(renderers))
        return only, only.media_type


class ApiView(GenericAPIView[Any]):
    """A view of the API. ``scopes``: what a token needs for a method, where it is not the usual."""

    permission_classes = [IsAuthenticated, HasScope]
    content_negotiation_class = OnlyFormat
    metadata_class = None  # the schema describes the API; OPTIONS is a verb that it has not
    scopes: Mapping[str, str] = {}
    orderings: Mapping[str, str] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        http: HttpRequest = request._request
        admit_body(http)
        _refuse_nul(http)
        super().initial(request, *args, **kwargs)

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        answer = super().finalize_response(request, response, *args, **kwargs)
        http: HttpRequest = request._request
        answer.headers.setdefault(HEADER, request_id(http))
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    def answer_page(self, queryset: QuerySet[Any]) -> Response:
        """Answer with the page of ``queryset`` that is asked for, filtered as it is asked for."""
        rows = self.paginate_queryset(self.filter_queryset(queryset))
        return self.get_paginated_response(self.get_serializer(rows, many=True).data)


def caller(request: Request) -> User:
    """Return who calls; where this is asked, somebody is signed in."""
    return cast(User, request.user)


def find_workspace(user: Any, slug: str | None) -> Workspace:
    """Return the workspace that a call is about; without a slug, the only one of the user.

    Raises:
        NotVisible: it is not the user's.
        InvalidInput: there is no slug, and the user has several or none.
    """
    mine = Workspace.objects.visible_to(user)
    if slug is not None:
        found: Workspace | None = mine.filter(slug=slug).first()
        if found is None:
            raise NotVisible(f"There is no workspace '{slug}' for you.")
        return found
    several = list(mine[:2])
    if len(several) != 1:
        raise InvalidInput(
            "Say which workspace.",
            [Problem("", "required", "Which workspace? Give its slug", "/workspace")],
        )
    only: Workspace = several[0]
    return only


def find_project(workspace: Workspace, name: str | None) -> Project | None:
    """Return the project of a workspace with this slug or id; None where none is named.

    Raises:
        NotVisible: the workspace has no such project.
    """
    if name is None:
        return None
    identifier = as_uuid(name)
    wanted = {"pk": identifier} if identifier else {"slug": name}
    project = Project.objects.filter(workspace=workspace, **wanted).first()
    if project is None:
        raise NotVisible(f"There is no project '{name}' in this workspace.")
    return project


def as_uuid(text: str) -> UUID | None:
    """Return the UUID that ``text`` is, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None


def get_visible(queryset: QuerySet[Any], **wanted: Any) -> Any:
    """Return the one row that is wanted of those that are visible.

    Raises:
        NotVisible: there is none.
    """
    found = queryset.filter(**wanted).first()
    if found is None:
        raise NotVisible("There is nothing with this id for you.")
    return found


def _refuse_nul(request: HttpRequest) -> None:
    # PostgreSQL's driver raises on NUL in text; SQLite would compare it.
    for name, values in request.GET.lists():
        if "\0" in name or any("\0" in value for value in values):
            raise InvalidInput(
                "A parameter holds a NUL character.",
                [Problem("", "nul_character", "NUL is not accepted", "/" + name.strip("\0"))],
                code="nul_character",
            )
