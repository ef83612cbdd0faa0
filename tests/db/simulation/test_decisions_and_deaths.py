"""The engine acts on decisions that are committed, on all of them, and on no other."""

import random
from typing import Any

import pytest
from django.db import transaction

from approvals.models import WorkflowStepApproval
from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.conftest import ask
from tests.db.engine.deaths import Crash, Death
from tests.db.engine.scenes import Scene, gate, request_of, statuses, steps_of, task
from tests.invariants import assert_invariants
from workflows.clock import database_now
from workflows.engine import leases
from workflows.models import Workspace

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 100


@pytest.mark.promise("P6 a decision cut off before or after its commit, early ones")
def test_what_counts_is_what_was_committed(
    workspace: Workspace, users: dict[str, object], record_property: Any
) -> None:
    """Whoever decides dies before or after the commit, while the run is held by a driver that
    works on it, by nobody, or by one that died as soon as it had asked."""
    scene = Scene(workspace, users)
    workflow = scene.workflow(gate("gate"), task("beside"), task("after", after=["gate"]))
    draw = random.Random(6)  # noqa: S311  (a test's own)
    for _ in range(ROUNDS):
        execution = scene.start(workflow)
        hand = DriverByHand()
        hand.turn()
        holder = draw.choice(["busy", "nobody", "dead"])
        if holder == "nobody":
            hand.finish("beside")
        request = request_of(execution)
        is_committed = draw.random() < 0.5
        with pytest.raises(Crash), Death(2 if is_committed else 1).at_commits():
            scene.decide(execution)
        request.refresh_from_db()
        assert request.status == ("approved" if is_committed else "pending")
        if holder == "dead":
            with transaction.atomic():
                leases.fence(hand.holdings.driver_id, database_now())
            hand = DriverByHand()
        hand.turn()
        expected = "completed" if is_committed else "waiting"
        assert statuses(execution)["gate"] == expected
        assert ("after" in statuses(execution)) == is_committed
        if not is_committed:
            scene.decide(execution)
        hand.work()
        execution.refresh_from_db()
        assert execution.status == "completed"
        assert steps_of(execution)["after"].attempts == 1
        hand.holdings.hand_back_all()
        leases.sign_off(hand.holdings.driver_id)
    assert WorkflowStepApproval.objects.filter(status="approved").count() == ROUNDS
    assert_invariants(ask)
    record_property("figures", f"{ROUNDS} rounds, each outcome as committed")
