"""A run whose work was sent back, on its page and over REST: the latest first, the others there."""

from typing import Any

import pytest

from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, gate, task
from tests.pages import html, ids_used_twice, row_titles, text
from workflows.core.outcomes import Completed
from workflows.engine.inputs import dump_json
from workflows.models import WorkflowExecution

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent_back(workspace: Any, users: dict[str, Any]) -> WorkflowExecution:
    """A run whose second plan has one item instead of two, and waits to be made."""
    scene, hand = Scene(workspace, users), DriverByHand()
    inner = {"steps": [task("do")], "for_each": "${steps.plan.of}"}
    each = {"name": "each", "step_type": "parallel", "depends_on_steps": ["plan"], "config": inner}
    execution = scene.run(task("plan"), each, gate(after=["each"], revise="plan"))
    hand.turn()
    for items, words in (([1, 2], "One is enough"), ([1], "Not that one")):
        output = {"of": items}
        hand.turn(hand.result("plan", Completed(output, dump_json(output))))
        hand.finish(*(f"do[{at}]" for at in range(len(items))))
        scene.decide(execution, "request_changes", words)
        hand.turn()
    return execution


def test_each_step_shows_its_latest_revision_and_leads_to_the_others(
    client_for: Any, sent_back: WorkflowExecution
) -> None:
    viewer = client_for("viewer")
    words = text(viewer.get(f"/executions/{sent_back.pk}/"))
    assert "plan task, revision 3 2 earlier revisions Completed revision 2" in words
    assert "gate approval, after each 2 earlier revisions Changes requested revision 2" in words
    page = text(viewer.get(f"/executions/{sent_back.pk}/?step=plan"))
    assert "Asked to change Not that one" in page
    assert "Revision 3 " in page
    earlier = html(viewer.get(f"/executions/{sent_back.pk}/?step=plan&revision=1"))
    shown = earlier.partition('id="step"')[2]
    assert "&quot;of&quot;: [ 1, 2 ]" in shown
    assert "Asked to change" not in shown


def test_steps_with_names_nearly_the_same_fold_their_revisions_apart(
    client_for: Any, workspace: Any, users: dict[str, Any], add_step: Any
) -> None:
    names = ("a 1", "a-1", "ü", "é")
    scene = Scene(workspace, users)
    execution = scene.run(*map(task, names))
    for name in names:
        add_step(execution, name, "failed", revision=1)
        add_step(execution, name, "running", revision=2)
    page = client_for("viewer").get(f"/executions/{execution.pk}/")
    assert not ids_used_twice(page)
    assert html(page).count("1 earlier revision<") == len(names)


def test_what_stands_in_a_block_that_is_done_anew_is_not_shown_as_done(
    client_for: Any, sent_back: WorkflowExecution
) -> None:
    answer = client_for("viewer").get(f"/executions/{sent_back.pk}/")
    assert row_titles(answer) == ["plan", "each", "do", "gate"]
    assert "0 of 3 steps done" in text(answer)


def test_rest_lists_every_revision_with_what_was_said(
    api: Any, sent_back: WorkflowExecution
) -> None:
    viewer = api("viewer")
    address = f"/api/v1/executions/{sent_back.pk}/steps/?limit=2"
    found = []
    while address:
        page = viewer.get(address).json()
        found += page["results"]
        address = page["next"]
    listed = [(s["name"], s["revision"], s["status"], s["feedback"]) for s in found]
    assert listed == [
        ("plan", 1, "completed", ""),
        ("plan", 2, "completed", "One is enough"),
        ("plan", 3, "running", "Not that one"),
        ("each", 1, "completed", ""),
        ("each", 2, "completed", "One is enough"),
        ("each", 3, "pending", "Not that one"),
        ("do[0]", 1, "completed", ""),
        ("do[0]", 2, "completed", "One is enough"),
        ("do[1]", 1, "completed", ""),
        ("gate", 1, "completed", ""),
        ("gate", 2, "completed", "One is enough"),
        ("gate", 3, "pending", "Not that one"),
    ]
    assert found[0]["revised_at"] is None
    assert found[1]["revised_at"] is not None


def test_only_what_is_done_now_is_told_to_be_waited_for(
    api: Any, sent_back: WorkflowExecution
) -> None:
    reasons = api("viewer").get(f"/api/v1/executions/{sent_back.pk}/why/").json()["reasons"]
    assert {reason["step"] for reason in reasons if reason["step"]} == {"plan"}
