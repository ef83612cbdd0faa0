"""From rows to runs: what a driver reads when it claims executions."""

import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from workflows.core.compiled import compile_definition
from workflows.core.definition import read_fields
from workflows.core.errors import DefinitionError
from workflows.core.planner import Progress
from workflows.core.states import ExecutionStatus
from workflows.engine import store
from workflows.engine.blocks import is_open_block, restore_blocks
from workflows.engine.frames import Frame
from workflows.engine.plan import Plan
from workflows.engine.run import Run
from workflows.models import WorkflowVersion

logger = logging.getLogger("workflows.engine")

_PLANS_KEPT = 200


class Loader:
    """Reads claimed executions; keeps the plans of the versions it has seen."""

    def __init__(self) -> None:
        self._plans: OrderedDict[UUID, tuple[str, Plan]] = OrderedDict()

    def load(self, claimed: Sequence[store.Claimed]) -> list[Run]:
        """Return the runs of ``claimed``, with the steps that have moved and what they need.

        Those whose version this installation cannot run are left out.
        """
        plans = self._find_plans({c.version_id for c in claimed})
        claimed = [c for c in claimed if c.version_id in plans]
        if not claimed:
            return []
        runs = {c.id: _run(c, *plans[c.version_id]) for c in claimed}
        begun = {c.id: runs[c.id] for c in claimed if c.started_at}
        if begun:
            store.load_steps(begun)
            self._restore(begun)
        return list(runs.values())

    def _restore(self, runs: dict[UUID, Run]) -> None:
        needed = {}
        begun = []
        store.read_last_results(runs.values())
        for run in runs.values():
            run.attach(run.top)
            needed.update({record.id: record for record in run.needed_outputs()})
            begun += [r.id for r in run.records.values() if is_open_block(r)]
        for step_id, text in store.load_data(list(needed), "output_data").items():
            record = needed[step_id]
            if record.frame is not None:
                record.frame.outputs[record.step] = json.loads(text)
            else:
                record.output = json.loads(text)
        if begun:
            inputs = store.load_data(begun, "input_data")
            for run in runs.values():
                restore_blocks(run, inputs)

    def _find_plans(self, version_ids: set[UUID]) -> dict[UUID, tuple[str, Plan]]:
        missing = version_ids - self._plans.keys()
        if missing:
            versions = WorkflowVersion.objects.filter(id__in=missing).select_related("workflow")
            for version in versions:
                # Whatever the limits are now, they held when the version was published.
                try:
                    compiled = compile_definition(read_fields(version.definition))
                except DefinitionError:
                    logger.exception("%s cannot run here", version)
                    continue
                self._plans[version.id] = (version.workflow.name, Plan.of(compiled))
        found = {}
        for version_id in version_ids & self._plans.keys():
            self._plans.move_to_end(version_id)
            found[version_id] = self._plans[version_id]
        while len(self._plans) > max(_PLANS_KEPT, len(found)):
            self._plans.popitem(last=False)
        return found


def _run(claimed: store.Claimed, workflow_name: str, plan: Plan) -> Run:
    definition = plan.compiled.definition
    variables: dict[str, Any] = {v.name: v.default_value for v in definition.variables}
    is_fail_fast = definition.config.fail_fast
    run = Run(
        id=claimed.id,
        workspace_id=claimed.workspace_id,
        project_id=claimed.project_id,
        workflow_id=claimed.workflow_id,
        workflow_name=workflow_name,
        number=claimed.number,
        started_by_id=claimed.started_by_id,
        started_by=claimed.started_by or "",
        status=ExecutionStatus(claimed.status),
        variables=variables | json.loads(claimed.input_variables),
        timeout_seconds=claimed.timeout_seconds,
        active_seconds=claimed.active_seconds,
        active_since=claimed.active_since,
        started_at=claimed.started_at,
        plan=plan,
        top=Frame("", "", Progress(plan.compiled.graph, plan.rules, is_fail_fast=is_fail_fast)),
        is_paused=claimed.is_paused,
        parent_step_id=claimed.parent_step_id,
        depth=claimed.depth,
    )
    run.stir(run.top)
    return run
