"""Blocks: parallel and sequential steps, mapped and repeated, one in another, and taken over."""

import pytest

from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from tests.db.engine.blocks import made, output_of, parallel, sequential, status_of, taken_over
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, gate, statuses, steps_of, task
from workflows.core.outcomes import Failed

pytestmark = pytest.mark.django_db


# --- plain blocks -------------------------------------------------------------------------


def test_a_parallel_block_runs_its_steps_at_once_and_joins(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        parallel("both", task("a"), task("b"), task("c", after=["a"])),
        task("after", after=["both"], inputs={"from_a": "${steps.both.a.by}"}),
    )
    hand.turn()
    assert set(hand.begun) == {"a", "b"}
    hand.finish("a", "b")
    assert set(hand.begun) == {"c"}
    hand.finish("c")
    assert output_of(execution, "both") == {"a": {"by": "a"}, "b": {"by": "b"}, "c": {"by": "c"}}
    assert hand.begun["after"].inputs == {"from_a": "a"}
    hand.finish("after")
    assert status_of(execution) == "completed"
    assert steps_of(execution)["a"].parent == "both"


def test_no_more_steps_of_a_parallel_block_run_than_it_allows(
    scene: Scene, hand: DriverByHand
) -> None:
    scene.run(parallel("p", *[task(f"s{n}") for n in range(4)], max_concurrency=2))
    hand.turn()
    assert set(hand.begun) == {"s0", "s1"}
    hand.finish("s1")
    assert set(hand.begun) == {"s0", "s2"}
    hand.finish("s0", "s2")
    assert set(hand.begun) == {"s3"}


def test_a_sequential_block_runs_its_steps_one_after_the_other(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        sequential("s", task("a"), task("b", inputs={"was": "${steps.a.by}"}), task("c"))
    )
    for step in ("a", "b", "c"):
        hand.turn()
        assert set(hand.begun) == {step}
        if step == "b":
            assert hand.begun["b"].inputs == {"was": "a"}
        hand.finish(step)
    assert status_of(execution) == "completed"


def test_the_steps_of_a_sequential_block_go_by_their_step_order(
    scene: Scene, hand: DriverByHand
) -> None:
    last = task("last", step_order=3)
    execution = scene.run(sequential("s", last, task("b", step_order=2), task("a", step_order=1)))
    hand.turn()
    for step in ("a", "b", "last"):
        assert set(hand.begun) == {step}
        hand.finish(step)
    assert status_of(execution) == "completed"


def test_a_step_that_fails_fails_its_block_with_its_error(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        parallel("p", task("bad"), task("next", after=["bad"]), task("good")),
        task("after", after=["p"]),
        max_retries=0,
    )
    hand.turn()
    hand.turn(hand.result("bad", Failed("broken", "It broke")), hand.result("good"))
    assert statuses(execution) == {
        "p": "failed",
        "bad": "failed",
        "next": "skipped upstream_failed",
        "good": "completed",
        "after": "skipped upstream_failed",
    }
    row = steps_of(execution)["p"]
    assert (row.error_code, row.error_message) == ("broken", "bad: It broke")
    assert status_of(execution) == "failed"


def test_a_block_that_may_fail_lets_the_run_go_on(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        parallel("p", task("bad"), continue_on_error=True),
        task("after", after=["p"]),
        max_retries=0,
    )
    hand.turn()
    hand.turn(hand.result("bad", Failed("broken", "It broke")))
    assert set(hand.begun) == {"after"}
    hand.finish("after")
    assert status_of(execution) == "completed"


def test_after_a_failure_inside_a_block_a_fail_fast_run_starts_nothing_more(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        parallel("p", task("bad"), task("slow"), task("then", after=["slow"])),
        sequential("q", task("one"), task("two")),
        config={"fail_fast": True},
        max_retries=0,
    )
    hand.turn()
    hand.turn(hand.result("bad", Failed("broken", "It broke")))
    hand.finish("slow", "one")
    assert not hand.begun
    assert statuses(execution)["then"] == "skipped upstream_failed"
    assert statuses(execution)["two"] == "skipped upstream_failed"
    assert status_of(execution) == "failed"


# --- over a list --------------------------------------------------------------------------


def test_a_mapped_block_runs_once_for_each_item_and_keeps_their_order(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(
        task("find"),
        parallel(
            "each",
            task("check", inputs={"word": "${item.word}", "at": "${index}"}),
            task("store", after=["check"], inputs={"checked": "${steps.check.ok}"}),
            after=("find",),
            for_each="${steps.find.words}",
        ),
        task("after", after=["each"], inputs={"second": "${steps.each.result[1].check.ok}"}),
    )
    hand.turn()
    hand.turn(hand.result("find", made({"words": [{"word": "x"}, {"word": "y"}]})))
    assert hand.begun["check[0]"].inputs == {"word": "x", "at": 0}
    assert hand.begun["check[1]"].inputs == {"word": "y", "at": 1}
    hand.turn(hand.result("check[1]", made({"ok": "y!"})))
    assert hand.begun["store[1]"].inputs == {"checked": "y!"}
    hand.finish("store[1]")
    hand.turn(hand.result("check[0]", made({"ok": "x!"})))
    hand.finish("store[0]")
    assert [each["check"]["ok"] for each in output_of(execution, "each")] == ["x!", "y!"]
    assert hand.begun["after"].inputs == {"second": "y!"}


def test_over_an_empty_list_a_block_completes_at_once(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(parallel("each", task("a"), for_each=[]), task("b", after=["each"]))
    hand.turn()
    assert output_of(execution, "each") == []
    assert set(hand.begun) == {"b"}


def test_what_is_no_list_fails_the_block(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(parallel("each", task("a"), for_each="${execution.id}"))
    hand.turn()
    assert steps_of(execution)["each"].error_code == "expression_error"
    assert status_of(execution) == "failed"


def test_no_more_items_run_at_once_than_the_block_allows(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(parallel("each", task("a"), for_each=[1, 2, 3, 4, 5], max_concurrency=2))
    seen = []
    hand.turn()
    while hand.begun:
        seen.append(sorted(hand.begun))
        hand.finish(min(hand.begun))
    assert max(map(len, seen)) == 2
    assert len(output_of(execution, "each")) == 5


def test_a_sequential_loop_goes_in_order_and_stops_at_a_failure(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(sequential("each", task("a"), for_each=[1, 2, 3]), max_retries=0)
    hand.turn()
    assert set(hand.begun) == {"a[0]"}
    hand.finish("a[0]")
    assert set(hand.begun) == {"a[1]"}
    hand.turn(hand.result("a[1]", Failed("broken", "It broke")))
    assert not hand.begun
    assert statuses(execution) == {"each": "failed", "a[0]": "completed", "a[1]": "failed"}


def test_a_loop_inside_a_loop_has_names_of_both(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        parallel(
            "outer",
            parallel("inner", task("a", inputs={"v": "${item}"}), for_each="${item}"),
            for_each=[[1, 2], [3]],
        )
    )
    hand.turn()
    assert {name: context.inputs["v"] for name, context in hand.begun.items()} == {
        "a[0][0]": 1,
        "a[0][1]": 2,
        "a[1][0]": 3,
    }
    hand.finish(*hand.begun)
    assert [len(each["inner"]) for each in output_of(execution, "outer")] == [2, 1]
    assert steps_of(execution)["a[0][1]"].parent == "inner[0]"
    assert status_of(execution) == "completed"


# --- until it holds -----------------------------------------------------------------------


def test_a_block_repeats_until_its_expression_holds(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        sequential(
            "loop",
            task("try", inputs={"round": "${index}"}),
            repeat_until="steps['try'].good",
        ),
        task("after", after=["loop"], inputs={"took": "${steps.loop['try'].n}"}),
    )
    hand.turn()
    for number in range(3):
        assert hand.begun[f"try[{number}]"].inputs == {"round": number}
        hand.turn(hand.result(f"try[{number}]", made({"good": number == 2, "n": number})))
    assert output_of(execution, "loop") == {"try": {"good": True, "n": 2}}
    assert hand.begun["after"].inputs == {"took": 2}


def test_a_block_that_never_gets_there_fails(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        sequential("loop", task("a"), repeat_until="false", max_iterations=2), max_retries=0
    )
    hand.turn()
    hand.finish("a[0]")
    hand.finish("a[1]")
    assert steps_of(execution)["loop"].error_code == "max_iterations"
    assert status_of(execution) == "failed"


def test_an_expression_that_fails_is_the_blocks_failure(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(sequential("loop", task("a"), repeat_until="steps.a.nothing == 1"))
    hand.turn()
    hand.finish("a[0]")
    assert steps_of(execution)["loop"].error_code == "expression_error"


# --- people, time and death ---------------------------------------------------------------


def test_a_gate_inside_a_block_waits_and_goes_on(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        parallel("each", gate("ask"), task("then", after=["ask"]), for_each=[1, 2])
    )
    hand.turn()
    assert status_of(execution) == "waiting"
    for approval in WorkflowStepApproval.objects.order_by("id"):
        decide(Decision(approval.id, "approved"), user=scene.users["approver"], door=Door.API)
        hand.turn()
    hand.finish("then[0]", "then[1]")
    assert status_of(execution) == "completed"


def test_a_block_whose_time_is_up_stops_what_runs_in_it(scene: Scene, hand: DriverByHand) -> None:
    execution = scene.run(
        parallel("p", task("slow"), gate("ask"), task("next", after=["slow"]), timeout_seconds=1),
        task("after", after=["p"], trigger_rule="all_done"),
    )
    hand.turn()
    late = hand.result("slow")
    hand.turn(ahead=2.0)
    assert statuses(execution) == {
        "p": "timeout",
        "slow": "cancelled",
        "ask": "cancelled",
        "after": "running",
    }
    assert WorkflowStepApproval.objects.get().status == "cancelled"
    assert hand.stopped == [late.key]
    hand.turn(late)
    assert statuses(execution)["slow"] == "cancelled"
    hand.finish("after")
    assert status_of(execution) == "failed"


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_another_driver_goes_on_in_the_middle_of_a_loop(
    scene: Scene, hand: DriverByHand, rounds: int
) -> None:
    execution = scene.run(
        parallel(
            "each",
            sequential(
                "inner",
                task("a", inputs={"v": "${item}"}),
                task("b", inputs={"was": "${steps.a.by}"}),
                repeat_until="index == 1",
            ),
            for_each=["x", "y", "z"],
            max_concurrency=2,
        ),
        task("after", after=["each"], inputs={"n": "${size(steps.each.result)}"}),
    )
    hand.turn()
    for _ in range(rounds):
        hand.finish(*hand.begun)
    drivers = 0
    while status_of(execution) != "completed":
        hand = taken_over(hand)
        drivers += 1
        assert drivers < 40
        hand.turn()
        hand.turn()
        hand.finish(*hand.begun)
    each = {"inner": {"a": {"by": "?"}, "b": {"by": "?"}}}
    shapes = [{k: sorted(v) for k, v in part.items()} for part in output_of(execution, "each")]
    assert shapes == [{k: sorted(v) for k, v in each.items()}] * 3
    assert output_of(execution, "each")[2]["inner"]["b"] == {"by": "b[2][1]"}
    rows = steps_of(execution)
    assert {row.status for row in rows.values()} == {"completed"}
    assert len([name for name in rows if name.startswith("a[")]) == 6
    assert rows["b[1][0]"].input_data == {"was": "a[1][0]"}


def test_what_a_block_made_before_the_takeover_is_in_its_output(
    scene: Scene, hand: DriverByHand
) -> None:
    execution = scene.run(parallel("p", task("a"), task("b")))
    hand.turn()
    hand.finish("a")
    hand = taken_over(hand)
    hand.turn()
    hand.turn()
    hand.finish("b")
    assert output_of(execution, "p") == {"a": {"by": "a"}, "b": {"by": "b"}}
