"""Three revisions of a work whose process dies at every point at which it can: every end is the
same, and no committed revision is made twice."""

import itertools
from typing import Any

import pytest

from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from tests.db.engine.conftest import ask
from tests.db.engine.deaths import Death
from tests.db.engine.scenes import Scene, gate, task, temporary
from tests.db.engine.test_crash_enumerator import EVERY, World, _async, _ledgers, calls
from tests.invariants import assert_invariants
from workflows.errors import Conflict
from workflows.models import Workflow, WorkflowStepExecution

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 3

STEPS = [
    task("plan", "crash.async"),
    gate(after=["plan"], max_revisions=LIMIT),
    task("act", "crash.async", after=["gate"]),
]


class Revised(World):
    """A run whose work is sent back as often as it may be, and once more."""

    def _people(self) -> None:
        user = self.scene.users["approver"]
        for request in WorkflowStepApproval.objects.pending():
            sent_back = Decision(request.id, "request_changes", f"Not like {request.revision}")
            if request.revision_count < LIMIT:
                decide(sent_back, user=user, door=Door.API)
                continue
            with pytest.raises(Conflict, match="3") as refusal:
                decide(sent_back, user=user, door=Door.API)
            assert refusal.value.code == "revision_limit"
            decide(Decision(request.id, "approved"), user=user, door=Door.API)

    def picture(self) -> dict[str, Any]:
        """Return what of a run does not depend on who died."""
        steps = WorkflowStepExecution.objects.filter(execution=self.execution)
        requests = WorkflowStepApproval.objects.filter(workflow_execution=self.execution)
        return {
            "run": (self.execution.status, self.execution.error_code),
            "steps": {(s.name, s.revision): (s.status, s.feedback) for s in steps},
            "requests": [
                (r.status, r.feedback, r.parent_approval and r.parent_approval.revision_count)
                for r in requests.order_by("revision_count").select_related("parent_approval")
            ],
            "told": {name: len(types) for name, types in self._told().items()},
        }


def live(scene: Scene, workflow: Workflow, at: int) -> Revised:
    workflow.refresh_from_db()
    world = Revised(scene, workflow, Death(at))
    _ledgers[-1] = world.ledger
    world.live()
    return world


@pytest.mark.promise("P10 three revisions, a death before and after every commit")
def test_wherever_a_process_dies_each_revision_is_made_once(
    scene: Scene, record_property: Any
) -> None:
    with temporary("crash.async")(_async):
        workflow = scene.workflow(*STEPS)
        whole = live(scene, workflow, 0)
        picture = whole.picture()
        assert picture["run"] == ("completed", "")
        assert picture["requests"] == [
            ("request_changes", "Not like 1", None),
            ("request_changes", "Not like 2", 0),
            ("request_changes", "Not like 3", 1),
            ("approved", "", 2),
        ]
        died = 0
        for at in itertools.count(1, EVERY):
            world = live(scene, workflow, at)
            if world.death.points < at:
                break
            died += 1
            assert world.picture() == picture, f"a death at point {at}"
            assert len(set(world.ledger.keys["plan"])) == LIMIT + 1
            repeated = calls(world) - calls(whole)
            assert repeated.total() <= 1, f"a death at point {at} repeated {repeated}"
        assert_invariants(ask)
    assert died == len(range(1, whole.death.points + 1, EVERY))
    record_property("figures", f"{died} deaths, every end the same; the request after: 409")
