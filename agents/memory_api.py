"""What agents remember, over REST: members read, editors write."""

from typing import Any

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from agents.memory import NewEntry, get_memory_stats, retrieve_memory, search_memory
from agents.memory.entries import MAX_KEY, check_key
from agents.memory.erasing import MEMORY, Erased, Place
from agents.memory.trust import Trust, trust_of
from agents.models import AgentInstance, AgentMemoryPast
from agents.services.memory_export import JSON_LINES, export_memory_as, export_name
from agents.services.memory_storing import (
    clear_memory_as,
    erase_memory_as,
    store_memory_as,
    thread_memory_as,
)
from workflows.api.base import ApiView, caller, get_visible
from workflows.api.fields import ObjectField, StrictSerializer, TextField, WholeField, read_input
from workflows.api.idempotency import idempotent
from workflows.api.pagination import LIMIT, MAX_LIMIT, read_limit
from workflows.core.errors import Problem
from workflows.downloads import stream
from workflows.errors import InvalidInput

_KEY = OpenApiParameter("key", str, description="Only the entry of this key")
_ERASE = OpenApiParameter(
    "erase", bool, description="With a key: also what it held before, and what handoffs hold"
)
_THREADED = OpenApiParameter(
    "threaded",
    bool,
    description="With a key: erase it, and also what other agents were handed of it",
)
_LIMIT = OpenApiParameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": LIMIT},
    description="How many of the newest",
)


class MemoryEntrySerializer(serializers.Serializer[Any]):
    """An entry; ``threaded_from`` is the agent that it was copied from. ``trust``: by whom it was
    written, a person, an agent of this installation, or somebody outside."""

    id = serializers.UUIDField()
    memory_key = serializers.CharField()
    memory_data = serializers.JSONField()
    metadata = serializers.DictField()
    trust = serializers.ChoiceField(choices=list(Trust))
    size_bytes = serializers.IntegerField()
    threaded_from = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)


class MemoryEntriesSerializer(serializers.Serializer[Any]):
    """Entries."""

    results = MemoryEntrySerializer(many=True)


class MemoryStatsSerializer(serializers.Serializer[Any]):
    """What an agent remembers now. ``hit_rate``: the part of all reads that found something."""

    total_entries = serializers.IntegerField()
    total_size_bytes = serializers.IntegerField()
    total_size_mb = serializers.FloatField()
    memory_keys = serializers.ListField(child=serializers.CharField())
    memory_key_count = serializers.IntegerField()
    hits = serializers.IntegerField()
    misses = serializers.IntegerField()
    hit_rate = serializers.FloatField(allow_null=True)
    evictions = serializers.IntegerField()


class MemoryPastSerializer(serializers.ModelSerializer[AgentMemoryPast]):
    """A value that an agent remembered until ``ended_at``: what became of it, and by whom."""

    trust = serializers.SerializerMethodField()

    class Meta:
        model = AgentMemoryPast
        fields = [
            "id",
            "memory_key",
            "memory_data",
            "metadata",
            "trust",
            "size_bytes",
            "threaded_from",
            "written_at",
            "ended_at",
            "change",
            "actor",
        ]

    @extend_schema_field(serializers.ChoiceField(choices=list(Trust)))
    def get_trust(self, value: AgentMemoryPast) -> str:
        return trust_of(value.metadata)


class PlaceSerializer(serializers.Serializer[Any]):
    """Where it was looked: how many rows held the key, and how many of them were deleted."""

    place = serializers.CharField()
    found = serializers.IntegerField()
    removed = serializers.IntegerField()


class ClearedSerializer(serializers.Serializer[Any]):
    """How many entries were deleted, of which agents; where it was looked, and where it was not."""

    deleted = serializers.IntegerField(source="entries")
    agents = serializers.ListField(child=serializers.UUIDField())
    handoffs = serializers.IntegerField()
    looked_in = serializers.ListField(child=serializers.CharField())
    places = PlaceSerializer(many=True)
    not_looked_in = serializers.ListField(child=serializers.CharField())


class NewMemoryRequest(StrictSerializer):
    """What is to be remembered, and for how many seconds, at most as many as the agent's limit."""

    memory_key = TextField(max_length=MAX_KEY)
    memory_data = serializers.JSONField(allow_null=True)
    metadata = ObjectField(required=False)
    ttl_seconds = WholeField(required=False, allow_null=True)


class ThreadRequest(StrictSerializer):
    """The agent that is to have copies, and of which keys; those that are missing are left out."""

    to_agent_id = serializers.UUIDField()
    context_keys = serializers.ListField(
        child=TextField(max_length=MAX_KEY), allow_empty=False, max_length=1_000
    )


class _MemoryView(ApiView):
    queryset = AgentInstance.objects.all()

    def agent(self, request: Request, id: Any) -> AgentInstance:
        agent: AgentInstance = get_visible(AgentInstance.objects.visible_to(caller(request)), pk=id)
        return agent

    def answer_entries(self, entries: Any, code: int = status.HTTP_200_OK) -> Response:
        return Response(MemoryEntriesSerializer({"results": entries}).data, status=code)


class AgentMemories(_MemoryView):
    serializer_class = MemoryEntriesSerializer

    @extend_schema(parameters=[_KEY, _LIMIT])
    def get(self, request: Request, id: Any) -> Response:
        """What an agent remembers: the newest entries, from the oldest to the newest."""
        agent = self.agent(request, id)
        key, limit = request.query_params.get("key"), read_limit(request)
        return self.answer_entries(retrieve_memory(agent.pk, agent.workspace_id, key, limit))

    @extend_schema(request=NewMemoryRequest, responses={201: MemoryEntrySerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Have an agent remember something, in the place of what it has under this key."""
        agent = self.agent(request, id)
        new = NewEntry(**read_input(NewMemoryRequest, request.data))
        entry = store_memory_as(caller(request), agent, new)
        return Response(MemoryEntrySerializer(entry).data, status=status.HTTP_201_CREATED)

    @extend_schema(parameters=[_KEY, _ERASE, _THREADED], responses={200: ClearedSerializer})
    def delete(self, request: Request, id: Any) -> Response:
        """Delete the entry of a key; without one, everything that an agent remembers.

        What it was is told for a while (``history/``), unless it is erased.
        """
        agent = self.agent(request, id)
        asked = request.query_params
        key, threaded = asked.get("key"), asked.get("threaded") == "true"
        if threaded or asked.get("erase") == "true":
            if key is None:
                problem = Problem("", "required", "Erase which key?", "/key")
                raise InvalidInput("Say which key is to be erased.", [problem])
            erased = erase_memory_as(caller(request), agent, key, threaded=threaded)
        else:
            deleted = clear_memory_as(caller(request), agent, key)
            places = [Place(MEMORY, deleted, deleted)]
            erased = Erased(places, [agent.pk] if deleted else [], ())
        return Response(ClearedSerializer(erased).data)


class AgentMemoryHistory(_MemoryView):
    serializer_class = MemoryPastSerializer
    orderings = {"-ended_at": "ended_at"}

    @extend_schema(parameters=[OpenApiParameter("key", str, description="Only what this key held")])
    def get(self, request: Request, id: Any) -> Response:
        """What an agent remembered before, what ended last first."""
        agent = self.agent(request, id)
        values = AgentMemoryPast.objects.filter(agent_instance=agent)
        key = request.query_params.get("key")
        if key is not None:
            values = values.filter(memory_key=check_key(key))
        return self.answer_page(values.filter(workspace_id=agent.workspace_id))


class AgentMemoryExport(_MemoryView):
    serializer_class = MemoryEntriesSerializer

    @extend_schema(
        parameters=[
            OpenApiParameter("past", bool, description="Also what the agent remembered before")
        ],
        responses={(200, JSON_LINES): OpenApiTypes.STR},
    )
    def get(self, request: Request, id: Any) -> HttpResponseBase:
        """All that an agent remembers as JSON Lines; ``kind`` says what a line is: ``entry`` or
        ``past``."""
        agent = self.agent(request, id)
        past = request.query_params.get("past") == "true"
        lines = export_memory_as(caller(request), agent, past=past)
        return stream(request._request, lines, JSON_LINES, export_name(agent))


class AgentMemoryStats(_MemoryView):
    serializer_class = MemoryStatsSerializer

    def get(self, request: Request, id: Any) -> Response:
        """How much an agent remembers, under which keys, and how it was used."""
        agent = self.agent(request, id)
        stats = get_memory_stats(agent.pk, agent.workspace_id)
        return Response(MemoryStatsSerializer(stats).data)


class AgentMemorySearch(_MemoryView):
    serializer_class = MemoryEntriesSerializer

    @extend_schema(
        parameters=[
            OpenApiParameter("q", str, description="Words; each has to begin one of an entry"),
            _LIMIT,
        ]
    )
    def get(self, request: Request, id: Any) -> Response:
        """The entries with these words, the newest first."""
        agent = self.agent(request, id)
        words, limit = request.query_params.get("q", ""), read_limit(request)
        return self.answer_entries(search_memory(agent.pk, agent.workspace_id, words, limit))


class AgentMemoryThread(_MemoryView):
    serializer_class = MemoryEntriesSerializer

    @extend_schema(request=ThreadRequest, responses={201: MemoryEntriesSerializer})
    @idempotent
    def post(self, request: Request, id: Any) -> Response:
        """Copy entries of an agent to another one of its workspace."""
        agent = self.agent(request, id)
        body = read_input(ThreadRequest, request.data)
        copies = thread_memory_as(caller(request), agent, body["to_agent_id"], body["context_keys"])
        return self.answer_entries(copies, status.HTTP_201_CREATED)
