"""Rights that are given ahead: delegations, and standing grants."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from approvals.models import Delegation, StandingGrant
from approvals.services import delegations, grants
from workflows.api.base import ApiView, as_uuid, caller, find_workspace, get_visible
from workflows.api.fields import StrictSerializer, TextField, WholeField, read_input
from workflows.api.filters import InWorkspaceFilter, filters
from workflows.api.idempotency import idempotent
from workflows.clock import database_now
from workflows.errors import NotVisible
from workflows.models import User, Workflow


class DelegationSerializer(serializers.ModelSerializer[Delegation]):
    """``delegate`` may decide what ``delegator`` may: one request, or all from start to end."""

    workspace = serializers.CharField(source="workspace.slug")
    delegator = serializers.CharField(source="delegator.username")
    delegate = serializers.CharField(source="delegate.username")

    class Meta:
        model = Delegation
        fields = [
            "id",
            "workspace",
            "delegator",
            "delegate",
            "approval_id",
            "reason",
            "starts_at",
            "ends_at",
            "revoked_at",
            "created_at",
        ]


class GrantSerializer(serializers.ModelSerializer[StandingGrant]):
    """An approval given ahead, for what matches, ``max_uses`` times until ``expires_at``."""

    workspace = serializers.CharField(source="workspace.slug")
    granted_by = serializers.CharField(source="granted_by.username")
    workflow = serializers.CharField(source="workflow.name")

    class Meta:
        model = StandingGrant
        fields = [
            "id",
            "workspace",
            "granted_by",
            "workflow",
            "workflow_id",
            "step_name",
            "predicate",
            "note",
            "max_uses",
            "uses",
            "expires_at",
            "revoked_at",
            "created_at",
        ]


class HandingRequest(StrictSerializer):
    """Who is to decide in the caller's place: the username of a member."""

    to = TextField(max_length=150)
    reason = TextField(
        required=False, default="", allow_blank=True, max_length=delegations.MAX_REASON
    )


class DelegationRequest(HandingRequest):
    """The same for a time; without ``starts_at`` from now on."""

    workspace = TextField(required=False, max_length=100)
    starts_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    ends_at = serializers.DateTimeField()


class GrantRequest(StrictSerializer):
    """What is approved ahead. ``workflow``: its id, or its name in the workspace.

    ``predicate``: an expression over ``payload``, ``title`` and ``risk``; empty for everything.
    """

    workspace = TextField(required=False, max_length=100)
    workflow = TextField(max_length=200)
    step_name = TextField(required=False, default="", allow_blank=True, max_length=200)
    predicate = TextField(required=False, default="", allow_blank=True, max_length=2_000)
    note = TextField(required=False, default="", allow_blank=True, max_length=grants.MAX_NOTE)
    max_uses = WholeField()
    expires_at = serializers.DateTimeField()


class DelegationFilter(InWorkspaceFilter):
    """``is_lasting``: those that hold, or will; ``q``: in the names of both and the reason."""

    search_fields = ("delegator__username", "delegate__username", "reason")

    delegator = filters.CharFilter(field_name="delegator__username", max_length=150)
    delegate = filters.CharFilter(field_name="delegate__username", max_length=150)
    approval = filters.UUIDFilter(field_name="approval_id")
    is_lasting = filters.BooleanFilter(method="that_last")

    def that_last(self, queryset: Any, name: str, value: bool) -> QuerySet[Any]:
        lasting = Delegation.objects.lasting(database_now())
        found: QuerySet[Any] = _only(queryset, lasting, value)
        return found


class GrantFilter(InWorkspaceFilter):
    """``is_live``: those that can still be used; ``q``: in workflow, step, predicate and note."""

    search_fields = ("workflow__name", "step_name", "predicate", "note")

    workflow = filters.CharFilter(method="of_workflow", max_length=200)
    granted_by = filters.CharFilter(field_name="granted_by__username", max_length=150)
    is_live = filters.BooleanFilter(method="that_live")

    def of_workflow(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        identifier = as_uuid(value)
        if identifier:
            return queryset.filter(workflow_id=identifier)
        return queryset.filter(workflow__name=value)

    def that_live(self, queryset: Any, name: str, value: bool) -> QuerySet[Any]:
        found: QuerySet[Any] = _only(queryset, StandingGrant.objects.live(database_now()), value)
        return found


class Delegations(ApiView):
    serializer_class = DelegationSerializer
    queryset = Delegation.objects.all()
    filterset_class = DelegationFilter
    orderings = {"-created_at": "created_at", "starts_at": "starts_at"}
    scopes = {"POST": "decide"}

    def get(self, request: Request) -> Response:
        """Who stands in for whom in the caller's workspaces."""
        return self.answer_page(_delegations(request))

    @extend_schema(request=DelegationRequest, responses={201: DelegationSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Let somebody decide in the caller's place for a time: out of office."""
        given = read_input(DelegationRequest, request.data)
        workspace = find_workspace(caller(request), given.pop("workspace", None))
        made = delegations.delegate_all(workspace, user=caller(request), **given)
        return _made(self, request, _delegations(request), made.pk, "delegations")


class OneDelegation(ApiView):
    serializer_class = DelegationSerializer
    queryset = Delegation.objects.all()

    @extend_schema(operation_id="delegations_retrieve")
    def get(self, request: Request, id: Any) -> Response:
        """One delegation."""
        return Response(self.get_serializer(get_visible(_delegations(request), pk=id)).data)


class DelegationRevocation(ApiView):
    serializer_class = DelegationSerializer
    queryset = Delegation.objects.all()

    @extend_schema(request=None, responses={200: DelegationSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """End a delegation at once."""
        read_input(StrictSerializer, request.data)
        delegations.revoke_delegation(id, user=caller(request))
        return Response(self.get_serializer(get_visible(_delegations(request), pk=id)).data)


class Handing(ApiView):
    serializer_class = DelegationSerializer
    queryset = Delegation.objects.all()
    scopes = {"POST": "decide"}

    @extend_schema(request=HandingRequest, responses={201: DelegationSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Let somebody decide on this one request in the caller's place."""
        given = read_input(HandingRequest, request.data)
        made = delegations.delegate(id, user=caller(request), **given)
        return _made(self, request, _delegations(request), made.pk, "delegations")


class Grants(ApiView):
    serializer_class = GrantSerializer
    queryset = StandingGrant.objects.all()
    filterset_class = GrantFilter
    orderings = {"-created_at": "created_at", "expires_at": "expires_at"}
    scopes = {"POST": "decide"}

    def get(self, request: Request) -> Response:
        """What was approved ahead in the caller's workspaces."""
        return self.answer_page(_grants(request))

    @extend_schema(request=GrantRequest, responses={201: GrantSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Approve ahead what a workflow will ask."""
        given = read_input(GrantRequest, request.data)
        workflow = _find_workflow(
            caller(request), given.pop("workflow"), given.pop("workspace", None)
        )
        made = grants.give_grant(workflow, user=caller(request), **given)
        return _made(self, request, _grants(request), made.pk, "grants")


class OneGrant(ApiView):
    serializer_class = GrantSerializer
    queryset = StandingGrant.objects.all()

    @extend_schema(operation_id="grants_retrieve")
    def get(self, request: Request, id: Any) -> Response:
        """One grant."""
        return Response(self.get_serializer(get_visible(_grants(request), pk=id)).data)


class GrantRevocation(ApiView):
    serializer_class = GrantSerializer
    queryset = StandingGrant.objects.all()

    @extend_schema(request=None, responses={200: GrantSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """End a grant at once; what it approved stays."""
        read_input(StrictSerializer, request.data)
        grants.revoke_grant(id, user=caller(request))
        return Response(self.get_serializer(get_visible(_grants(request), pk=id)).data)


def _only(queryset: QuerySet[Any], held: QuerySet[Any], is_wanted: bool) -> QuerySet[Any]:
    """Return the rows that are among ``held``, or the others."""
    ids = held.values("id")
    return queryset.filter(id__in=ids) if is_wanted else queryset.exclude(id__in=ids)


def _delegations(request: Request) -> QuerySet[Any]:
    found: QuerySet[Any] = Delegation.objects.visible_to(caller(request))
    return found.select_related("workspace", "delegator", "delegate")


def _grants(request: Request) -> QuerySet[Any]:
    found: QuerySet[Any] = StandingGrant.objects.visible_to(caller(request))
    return found.select_related("workspace", "granted_by", "workflow").defer(
        "workflow__config", "workflow__metadata"
    )


def _made(view: ApiView, request: Request, rows: QuerySet[Any], id: Any, noun: str) -> Response:
    shown = view.get_serializer(get_visible(rows, pk=id)).data
    location = request.build_absolute_uri(f"/api/v1/{noun}/{id}/")
    return Response(shown, status=status.HTTP_201_CREATED, headers={"Location": location})


def _find_workflow(user: User, named: str, slug: str | None) -> Workflow:
    """Return a workflow by its id, or by its name in the workspace."""
    workflows = Workflow.objects.visible_to(user).select_related("published_version")
    identifier = as_uuid(named)
    if identifier is None:
        found: Workflow = get_visible(workflows, workspace=find_workspace(user, slug), name=named)
        return found
    found = get_visible(workflows.select_related("workspace"), pk=identifier)
    if slug not in (None, found.workspace.slug):
        raise NotVisible("There is no such workflow in this workspace.")
    return found
