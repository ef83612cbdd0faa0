"""What agents were told and said is written with the results of their attempts, bounded, without
secrets."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command

from agents.masking import MASK
from agents.models import AgentInstance, AgentMessage, MessageRole
from agents.services.messages import MAX_CONTENT, MAX_MESSAGES, MAX_TOGETHER, said_of
from agents.work import Said, work_of
from tests.db.agents.contexts import context_of
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import AT_ONCE, Scene, agent, steps_of, temporary
from workflows.clock import database_now
from workflows.core.outcomes import Completed, Failed
from workflows.handlers import StepContext
from workflows.services.executions import cancel_execution

pytestmark = pytest.mark.django_db

USER, ASSISTANT = MessageRole.USER, MessageRole.ASSISTANT


def messages() -> list[tuple[int, int, str, str]]:
    rows = AgentMessage.objects.order_by("attempt", "position", "content")
    return list(rows.values_list("attempt", "position", "role", "content"))


@pytest.fixture
def worker(scene: Scene) -> AgentInstance:
    return scene.agent(places=5)


def say(hand: DriverByHand, *said: Said, step: str = "a") -> None:
    work_of(hand.begun[step]).said += said


def test_a_conversation_is_written_with_the_result(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    execution = scene.run(agent("a"))
    hand.turn()
    call = {"tool_calls": [{"name": "look", "arguments": "{}"}]}
    say(hand, Said(USER, "How many?"), Said(ASSISTANT, "", call), Said(ASSISTANT, "Three"))
    hand.finish("a")
    assert messages() == [
        (1, 0, "user", "How many?"),
        (1, 1, "assistant", ""),
        (1, 2, "assistant", "Three"),
    ]
    written = AgentMessage.objects.get(position=1)
    assert (written.agent_instance, written.workspace) == (worker, scene.workspace)
    assert written.step_execution_id == steps_of(execution)["a"].id
    assert written.data == call


def test_an_agent_that_keeps_no_conversation_was_told_its_inputs_and_said_its_output(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    inputs = {"config": {"inputs": {"n": 1}}}
    scene.run(agent("a", **inputs))
    hand.work()
    assert [row[2] for row in messages()] == ["user", "assistant"]
    assert [json.loads(row[3]) for row in messages()] == [{"n": 1}, {"n": 1}]


def test_each_attempt_has_its_own_also_where_it_failed(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    scene.agent("other", definition="worker")
    scene.run(agent("a", config=AT_ONCE))
    hand.turn()
    for outcome in (Failed("x", "It broke"), Failed("x", "Gone", elsewhere=True), Completed({})):
        say(hand, Said(USER, "Again"))
        hand.turn(hand.result("a", outcome))
        hand.turn()
    assert [row[0] for row in messages()] == [1, 2, 3]
    assert len(set(AgentMessage.objects.values_list("agent_instance"))) == 2


def test_what_is_refused_or_abandoned_says_nothing(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    execution = scene.run(agent("a"))
    hand.turn()
    say(hand, Said(USER, "Too late"))
    late = hand.result("a")
    cancel_execution(execution.id, user=scene.users["operator"])
    hand.turn(late)
    assert messages() == []


def test_contents_are_bounded_storable_and_without_secrets(
    scene: Scene,
    hand: DriverByHand,
    worker: AgentInstance,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.MGX_AGENT_SECRETS = ["SERVICE_SECRET@agents.example"]
    monkeypatch.setenv("SERVICE_SECRET", "open sesame")
    scene.run(agent("a"))
    hand.turn()
    say(
        hand,
        Said(USER, "I say open sesame, Bearer abcdefghijkl"),
        Said(USER, "nul \0, alone \ud800"),
        Said(USER, "x" * (MAX_CONTENT + 1)),
        Said(USER, "y" * (MAX_CONTENT - 4) + "open sesame"),
        Said(USER, "data", {"password": "hidden", "n": 1}),
        Said(USER, "large", {"x": "x" * 30_000}),
        Said(USER, "unstorable", {"x": object()}),
    )
    hand.finish("a")
    rows = AgentMessage.objects.order_by("position")
    contents = [row.content for row in rows]
    assert contents[0] == f"I say {MASK}, Bearer {MASK}"
    assert contents[1] == "nul �, alone ?"
    assert contents[2] == "x" * MAX_CONTENT + " … (cut off here)"
    assert "open" not in contents[3]
    assert [row.data for row in rows[4:]] == [
        {"password": MASK, "n": 1},
        {"left_out": "too_large"},
        {"left_out": "value_type"},
    ]


def test_of_a_long_conversation_the_first_and_the_last_messages_are_kept(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    scene.run(agent("a"))
    hand.turn()
    say(hand, *[Said(USER, str(number)) for number in range(MAX_MESSAGES + 50)])
    hand.finish("a")
    kept = [row[1] for row in messages()]
    assert kept == [*range(100), *range(150, 250)]
    assert [row[3] for row in messages()] == [str(number) for number in kept]


def test_all_of_an_attempt_is_bounded_together(
    scene: Scene, hand: DriverByHand, worker: AgentInstance
) -> None:
    scene.run(agent("a"))
    hand.turn()
    say(hand, *[Said(USER, "long word " * 2_000) for _ in range(30)])
    hand.finish("a")
    assert sum(len(row[3]) for row in messages()) < MAX_TOGETHER + 30 * 20
    assert len(messages()) == 30


def test_who_keeps_no_conversation_was_told_the_inputs_and_said_the_output() -> None:
    context = context_of("python", {}, inputs={"n": 1}, feedback="Two!")
    assert [(said.role, said.content) for said in said_of(context, {"m": "ä"}, is_done=True)] == [
        (USER, '{\n  "n": 1\n}'),
        (USER, "Two!"),
        (ASSISTANT, '{\n  "m": "ä"\n}'),
    ]
    assert [said.role for said in said_of(context_of("python", {}, inputs={}))] == [USER]
    deep: list[Any] = []
    deep.append(deep)
    for hostile in (deep, {b"x": 1}, {1: object()}):
        assert said_of(context, hostile, is_done=True)[-1].content
    long = said_of(context, ["x" * 100] * 10_000, is_done=True)[-1].content
    assert len(long) < 2 * MAX_CONTENT


def test_messages_go_when_they_are_old(
    scene: Scene,
    hand: DriverByHand,
    worker: AgentInstance,
    settings: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @temporary("test.says")
    def says(context: StepContext) -> None:
        work_of(context).said.append(Said(USER, context.name))

    worker.config = {"task": "test.says"}
    worker.save()
    with says:
        scene.run(agent("a"), agent("b"))
        hand.work()
    old = database_now() - timedelta(days=8)
    AgentMessage.objects.filter(content="a").update(created_at=old)
    call_command("prune")
    assert [row[3] for row in messages()] == ["a", "b"]
    settings.MGX_AGENT_MESSAGE_DAYS = 7
    call_command("prune")
    assert [row[3] for row in messages()] == ["b"]
    assert "1 messages of agents." in capsys.readouterr().out
    AgentMessage.objects.update(created_at=old)
    for for_ever in (0, -1):
        settings.MGX_AGENT_MESSAGE_DAYS = for_ever
        call_command("prune")
        assert len(messages()) == 1
    scene.workspace.settings["retention_days"] = 5
    scene.workspace.save()
    call_command("prune")
    assert messages() == []
