"""From rows to runs: what a driver reads when it claims executions."""

import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from workflows.core.compiled import compile_definition
from workflows.core.definition import Limits, parse_definition
from workflows.core.errors import DefinitionError
from workflows.core.planner import Progress
from workflows.core.states import ExecutionStatus, StepStatus
from workflows.engine import store
from workflows.engine.run import Plan, Run
from workflows.models import User, WorkflowVersion

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
        names = self._names({c.started_by_id for c in claimed if c.started_by_id})
        runs = {
            c.id: _run(c, *plans[c.version_id], names.get(c.started_by_id, "")) for c in claimed
        }
        begun = {c.id: runs[c.id] for c in claimed if c.started_at}
        if begun:
            store.load_steps(begun)
            self._restore(begun)
        return list(runs.values())

    def _restore(self, runs: dict[UUID, Run]) -> None:
        for run in runs.values():
            for name, record in run.records.items():
                step = run.plan.compiled.steps[name].step
                run.progress.record(
                    name,
                    record.status,
                    skip_reason=record.skip_reason,
                    is_tolerated=step.config.continue_on_error,
                )
                if record.status is StepStatus.WAITING:
                    run.waiting.add(name)
                elif record.status is StepStatus.RETRYING and record.due_at:
                    run.retrying[name] = record.due_at
        needed = {
            run.records[name].id: (run, name)
            for run in runs.values()
            for name in run.needed_outputs()
        }
        for step_id, text in store.load_outputs(list(needed)).items():
            run, name = needed[step_id]
            run.outputs[name] = json.loads(text)

    def _find_plans(self, version_ids: set[UUID]) -> dict[UUID, tuple[str, Plan]]:
        missing = version_ids - self._plans.keys()
        if missing:
            versions = WorkflowVersion.objects.filter(id__in=missing).select_related("workflow")
            for version in versions:
                # Whatever the limits are now, they held when the version was published.
                limits = Limits(steps=len(version.definition["steps"]))
                try:
                    compiled = compile_definition(parse_definition(version.definition, limits))
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

    def _names(self, user_ids: set[int]) -> dict[int | None, str]:
        if not user_ids:
            return {}
        return dict(User.objects.filter(id__in=user_ids).values_list("id", "username"))


def _run(claimed: store.Claimed, workflow_name: str, plan: Plan, started_by: str) -> Run:
    definition = plan.compiled.definition
    variables: dict[str, Any] = {v.name: v.default_value for v in definition.variables}
    return Run(
        id=claimed.id,
        workspace_id=claimed.workspace_id,
        project_id=claimed.project_id,
        workflow_id=claimed.workflow_id,
        workflow_name=workflow_name,
        number=claimed.number,
        started_by_id=claimed.started_by_id,
        started_by=started_by,
        status=ExecutionStatus(claimed.status),
        variables=variables | json.loads(claimed.input_variables),
        timeout_seconds=claimed.timeout_seconds,
        active_seconds=claimed.active_seconds,
        active_since=claimed.active_since,
        started_at=claimed.started_at,
        plan=plan,
        progress=Progress(
            plan.compiled.graph, plan.rules, is_fail_fast=definition.config.fail_fast
        ),
    )
