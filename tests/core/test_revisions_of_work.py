"""Which steps are done anew when a gate sends work back, and which rows still count."""

from dataclasses import dataclass
from datetime import UTC, datetime

from workflows.core.graph import Graph
from workflows.core.revisions import maker_of, makers_for, rows_of_today, steps_done_anew
from workflows.core.states import StepStatus

EARLY = datetime(2030, 1, 1, tzinfo=UTC)
LATE = datetime(2030, 1, 2, tzinfo=UTC)

#: a → b → c → gate → after, with x beside b and y beside c.
GRAPH = Graph(
    {
        "a": (),
        "b": ("a",),
        "x": ("a",),
        "c": ("b",),
        "y": ("b",),
        "gate": ("c", "a"),
        "after": ("gate",),
    }
)


@dataclass
class Row:
    parent: str = ""
    revised_at: datetime | None = None


def test_between_stands_what_the_one_leads_to_and_the_gate_needs() -> None:
    assert steps_done_anew(GRAPH, "a", "gate") == ("a", "b", "c", "gate")
    assert steps_done_anew(GRAPH, "c", "gate") == ("c", "gate")


def test_the_nearest_maker_is_the_last_task_or_agent_before_the_gate() -> None:
    kinds = dict.fromkeys(GRAPH.order, "task")
    assert makers_for(GRAPH, "gate", kinds) == ("c", "b", "a")
    assert makers_for(GRAPH, "gate", kinds | {"c": "wait"}) == ("b", "a")
    others = {"c": "approval", "b": "parallel", "a": "agent"}
    assert makers_for(GRAPH, "gate", kinds | others) == ("a",)
    assert makers_for(GRAPH, "a", kinds) == ()
    assert makers_for(GRAPH, "gate", dict.fromkeys(GRAPH.order, "condition")) == ()


def test_what_was_skipped_has_made_nothing() -> None:
    skipped, completed = StepStatus.SKIPPED, StepStatus.COMPLETED
    assert maker_of(("c", "b", "a"), {}) == "c"
    assert maker_of(("c", "b", "a"), {"c": skipped, "b": completed, "a": completed}) == "b"
    assert maker_of(("c", "b"), {"c": skipped, "b": skipped}) == "c"
    assert maker_of((), {}) == ""


def test_what_stood_in_a_block_before_it_was_sent_back_counts_no_more() -> None:
    rows = {
        "top": Row(),
        "block": Row(revised_at=LATE),
        "inner": Row("block", EARLY),
        "deep": Row("inner", LATE),
        "again": Row("block", LATE),
        "never": Row("block"),
    }
    assert set(rows_of_today(rows)) == {"top", "block", "again"}


def test_what_was_sent_back_within_a_block_counts() -> None:
    rows = {"block": Row(revised_at=EARLY), "inner": Row("block", LATE), "plain": Row("first")}
    assert set(rows_of_today(rows)) == {"block", "inner", "plain"}
