"""Agents that hand on while whoever drives them, or asks them to, dies at every point at which it
can: all of a handoff is there once, or nothing is, and each entry has the same owner."""

import itertools
from typing import Any

import pytest

from agents.memory import clear_memory, retrieve_memory, store_memory
from agents.models import AgentHandoff, AgentInstance
from agents.services.handoff import handoff_context
from approvals.models import Door, WorkflowStepApproval
from approvals.services.decisions import Decision, decide
from tests.db.engine.conftest import ask
from tests.db.engine.deaths import Death
from tests.db.engine.scenes import Scene, agent, gate, temporary
from tests.db.engine.test_crash_enumerator import EVERY, World, _async, _ledgers, calls
from tests.invariants import assert_invariants
from workflows.errors import Conflict
from workflows.models import Event, Workflow

pytestmark = pytest.mark.django_db(transaction=True)

CREW = ("ann", "bob", "cleo")


def hands_on(name: str, by: str, to: str, *after: str) -> dict[str, Any]:
    handoff = {"to_agent_id": to, "context_keys": ["notes"]}
    return agent(name, by, after=after, config={"inputs": {"by": by}, "handoff": handoff})


STEPS = [
    hands_on("plan", "ann", "bob"),
    hands_on("act", "bob", "cleo", "plan"),
    gate(after=["act"]),
    hands_on("report", "cleo", "ann", "gate"),
]


class Crew(World):
    """A run in which each agent hands on to the next one, and somebody who has ``ann`` hand on."""

    def __init__(self, scene: Scene, workflow: Workflow, death: Death) -> None:
        super().__init__(scene, workflow, death)
        AgentHandoff.objects.all().delete()
        self._told_before = Event.objects.count()
        self.crew = {one.slug: one for one in AgentInstance.objects.all()}
        for one in self.crew.values():
            clear_memory(one.id, one.workspace_id)
        for key in ("notes", "keys"):
            store_memory(self.crew["ann"].id, scene.workspace.id, key, f"ann's {key}")
        self.refused: list[str] = []
        self._is_handed_on = False

    def _people(self) -> None:
        """Have the keys handed on, again until an answer is heard; then let the run go on."""
        ann, cleo = self.crew["ann"], self.crew["cleo"]
        if not self._is_handed_on:
            try:
                handoff_context(ann.id, cleo.id, {"why": "shift ends"}, ["keys"])
            except Conflict as refused:
                self.refused.append(str(refused.facts["owner"]))
            self._is_handed_on = True
        for request in WorkflowStepApproval.objects.pending():
            decide(
                Decision(request.id, "approved"), user=self.scene.users["approver"], door=Door.API
            )

    def picture(self) -> dict[str, Any]:
        """Return what of a run, and of what agents know, does not depend on who died."""
        handoffs = AgentHandoff.objects.select_related("from_agent", "to_agent")
        told = Event.objects.filter(seq__gt=self._told_before, data__activity="handoff")
        return {
            "run": (self.execution.status, self.execution.output_data),
            "handoffs": sorted(
                (h.from_agent.slug, h.to_agent.slug, h.hops, h.context_keys, str(h.context))
                for h in handoffs
            ),
            "told": sorted(
                (event.data["agent"], event.data["to_agent"], event.data["context_keys"])
                for event in told
            ),
            "memories": {
                slug: {e.memory_key: e.memory_data for e in retrieve_memory(a.id, a.workspace_id)}
                for slug, a in self.crew.items()
            },
        }


def live(scene: Scene, workflow: Workflow, at: int) -> Crew:
    workflow.refresh_from_db()
    world = Crew(scene, workflow, Death(at))
    _ledgers[-1] = world.ledger
    world.live()
    return world


@pytest.mark.promise("P20 three steps and a person hand on, a death at every commit")
def test_wherever_a_process_dies_each_handoff_is_made_once(
    scene: Scene, record_property: Any
) -> None:
    for slug in CREW:
        scene.agent(slug, config={"task": "crash.async"})
    with temporary("crash.async")(_async):
        workflow = scene.workflow(*STEPS)
        whole = live(scene, workflow, 0)
        picture = whole.picture()
        made = [handoff[:4] for handoff in picture["handoffs"]]
        assert made == [
            ("ann", "bob", 1, ["notes"]),
            ("ann", "cleo", 1, ["keys"]),
            ("bob", "cleo", 2, ["notes"]),
            ("cleo", "ann", 3, ["notes"]),
        ]
        assert len(picture["told"]) == len(made)
        assert not whole.refused
        died = repeats = 0
        for at in itertools.count(1, EVERY):
            world = live(scene, workflow, at)
            if world.death.points < at:
                break
            died += 1
            assert world.picture() == picture, f"a death at point {at}"
            assert set(world.refused) <= {str(world.crew["cleo"].id)}
            repeats += len(world.refused)
            repeated = calls(world) - calls(whole)
            assert repeated.total() <= 1, f"a death at point {at} repeated {repeated}"
            assert_invariants(ask)
    assert died == len(range(1, whole.death.points + 1, EVERY))
    assert EVERY > 1 or repeats == 1, "who did not hear that it was done is told so"
    record_property("figures", f"{died} deaths, every end the same")
