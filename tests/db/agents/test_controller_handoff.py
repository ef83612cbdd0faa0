"""One agent hands on to another: all of it or nothing, with one owner, and not for ever."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from agents.memory import retrieve_memory, store_memory
from agents.models import AgentDefinition, AgentHandoff, AgentInstance, AgentMemoryEntry
from agents.services.handoff import ahandoff_context, handoff_context
from tests.db.engine.threads import at_once
from workflows.errors import Conflict, InvalidInput, NotVisible
from workflows.models import Event, Project

pytestmark = pytest.mark.django_db


@pytest.fixture
def crew(workspace: Any) -> list[AgentInstance]:
    """Three agents of a workspace."""
    definition = AgentDefinition.objects.create(name="W", slug="w", agent_type="demo")
    return [
        AgentInstance.objects.create(
            workspace=workspace, definition=definition, name=name.capitalize(), slug=name
        )
        for name in ("ann", "bob", "cleo")
    ]


def remember(agent: AgentInstance, key: str, data: Any) -> None:
    store_memory(agent.id, agent.workspace_id, key, data)


def known(agent: AgentInstance) -> dict[str, Any]:
    return {e.memory_key: e.memory_data for e in retrieve_memory(agent.id, agent.workspace_id)}


def test_the_other_one_has_what_was_named_and_said(crew: list[AgentInstance]) -> None:
    ann, bob, _ = crew
    remember(ann, "plan", {"steps": 3})
    remember(ann, "secret", 1)
    handoff = handoff_context(
        ann.id, str(bob.id), {"goal": "ship"}, ["plan", "missing"], {"why": "shift ends"}
    )
    assert known(bob) == {"plan": {"steps": 3}, "goal": "ship"}
    assert known(ann) == {"plan": {"steps": 3}, "secret": 1}
    copy = AgentMemoryEntry.objects.get(agent_instance=bob, memory_key="plan")
    assert copy.threaded_from == ann.id
    row = AgentHandoff.objects.get()
    assert row == handoff
    assert (row.context, row.context_keys) == ({"goal": "ship"}, ["plan"])
    assert (row.handoff_metadata, row.hops, row.parent) == ({"why": "shift ends"}, 1, None)
    event = Event.objects.get(event_type="agent_activity")
    assert (event.agent_id, event.data["to_agent"]) == (ann.id, "bob")
    assert event.data["context_keys"] == ["goal", "plan"]


@pytest.mark.django_db(transaction=True)
async def test_it_can_be_awaited(crew: list[AgentInstance]) -> None:
    handoff = await ahandoff_context(crew[0].id, crew[1].id, {"goal": 1})
    assert handoff.to_agent_id == crew[1].id
    await sync_to_async(connections.close_all)()  # that of its thread


# --- refusals -----------------------------------------------------------------------------


def test_nothing_goes_to_itself_or_to_one_that_is_disabled_or_foreign(
    crew: list[AgentInstance], other_workspace: Any
) -> None:
    ann, bob, cleo = crew
    theirs = AgentInstance.objects.create(
        workspace=other_workspace, definition=ann.definition, name="X", slug="x"
    )
    elsewhere = Project.objects.create(workspace=ann.workspace, name="P", slug="p")
    AgentInstance.objects.filter(id=cleo.id).update(project=elsewhere)
    for target, error, code in (
        (ann.id, InvalidInput, "same_agent"),
        (theirs.id, NotVisible, "not_found"),
        (cleo.id, NotVisible, "not_found"),
        ("no-id", NotVisible, "not_found"),
    ):
        with pytest.raises(error) as refused:
            handoff_context(ann.id, target, {"a": 1})
        assert refused.value.code == code
    for change in ({"is_enabled": False}, {"is_enabled": True, "status": "offline"}):
        AgentInstance.objects.filter(id=bob.id).update(**change)
        with pytest.raises(InvalidInput) as refused:
            handoff_context(ann.id, bob.id, {"a": 1})
        assert refused.value.code == "agent_disabled"
    assert not AgentHandoff.objects.exists()
    assert not AgentMemoryEntry.objects.exists()


@pytest.mark.parametrize(
    ("context", "keys"),
    [({"": 1}, []), ({"x" * 256: 1}, []), ({"a": float("nan")}, []), ({}, [""])],
)
def test_what_cannot_be_kept_is_refused_whole(
    crew: list[AgentInstance], context: Any, keys: Any
) -> None:
    remember(crew[0], "plan", 1)
    with pytest.raises(InvalidInput):
        handoff_context(crew[0].id, crew[1].id, context, ["plan", *keys])
    assert known(crew[1]) == {}


def test_a_failure_in_the_middle_leaves_nothing_behind(
    crew: list[AgentInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(crew[0], "plan", 1)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("The end")

    with monkeypatch.context() as patch:
        patch.setattr("agents.services.handoff.append_events", fail)
        with pytest.raises(RuntimeError):
            handoff_context(crew[0].id, crew[1].id, {"goal": 1}, ["plan"])
    assert known(crew[1]) == {}
    assert not AgentHandoff.objects.exists()
    assert not Event.objects.filter(event_type="agent_activity").exists()


@pytest.mark.parametrize("by_memory", [True, False])
def test_a_loop_ends_at_the_limit_of_hops(
    crew: list[AgentInstance], settings: Any, by_memory: bool
) -> None:
    settings.MGX_MAX_HANDOFF_HOPS = 6
    ann, bob, _ = crew
    remember(ann, "task", 1)
    given: dict[str, Any] = {"context_keys": ["task"]} if by_memory else {"context": {"task": 1}}
    pair = [ann, bob]
    for hop in range(1, 7):
        handoff = handoff_context(pair[0].id, pair[1].id, **given)
        assert handoff.hops == hop
        pair.reverse()
    with pytest.raises(InvalidInput) as refused:
        handoff_context(pair[0].id, pair[1].id, **given)
    assert refused.value.code == "too_many_hops"
    assert AgentHandoff.objects.count() == 6
    assert AgentHandoff.objects.get(hops=6).parent == AgentHandoff.objects.get(hops=5)


# --- one owner ----------------------------------------------------------------------------


def test_an_entry_is_handed_on_once_until_it_is_written_anew(crew: list[AgentInstance]) -> None:
    ann, bob, cleo = crew
    remember(ann, "plan", 1)
    handoff_context(ann.id, bob.id, context_keys=["plan"])
    with pytest.raises(Conflict) as refused:
        handoff_context(ann.id, cleo.id, context_keys=["plan"])
    assert refused.value.facts["owner"] == str(bob.id)
    remember(ann, "plan", 2)
    handoff_context(ann.id, cleo.id, context_keys=["plan"])
    assert (known(bob), known(cleo)) == ({"plan": 1}, {"plan": 2})


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_becomes_the_owner(crew: list[AgentInstance]) -> None:
    ann, bob, cleo = crew
    remember(ann, "plan", 1)

    def act(number: int) -> str:
        try:
            handoff_context(ann.id, (bob, cleo)[number % 2].id, context_keys=["plan"])
        except Conflict as refused:
            return refused.code
        return "done"

    answers = at_once(10, act)
    assert sorted(answers) == ["already_handed_on"] * 9 + ["done"]
    assert sorted([known(bob), known(cleo)], key=len) == [{}, {"plan": 1}]


@pytest.mark.django_db(transaction=True)
def test_handing_on_in_both_directions_at_once_waits_for_nobody_for_ever(
    crew: list[AgentInstance],
) -> None:
    ann, bob, _ = crew
    pair = [ann, bob]

    def act(number: int) -> None:
        one, other = pair[number % 2], pair[1 - number % 2]
        handoff_context(one.id, other.id, {f"key{number}": number})

    at_once(10, act)
    assert AgentHandoff.objects.count() == 10
