"""Sub-workflows: which workflow a step names, and how a run's end reaches the step it ran for."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from workflows.bulk import wake_engine, write
from workflows.events import EventDraft
from workflows.models import Workflow, WorkflowExecution, WorkflowStepExecution, Workspace

#: Kind of the timer that stands for what a parent has to hear of its child, until it is woken.
PARENT_WAKE = "parent_wake"


def check_workflows(names: Collection[str], *, workspace: Workspace) -> set[str]:
    """Return those of ``names`` that are neither the id nor the name of a workflow there."""
    return set(names) - find_workflows(workspace.pk, names).keys()


def find_workflows(workspace_id: UUID, names: Iterable[str]) -> dict[str, Workflow]:
    """Return the workflows of a workspace that ``names`` are the ids or names of."""
    wanted = set(names)
    ids = [UUID(name) for name in wanted if _is_uuid(name)]
    found = Workflow.objects.filter(workspace_id=workspace_id)
    workflows = list(found.filter(Q(name__in=wanted) | Q(id__in=ids)))
    by_name = {workflow.name: workflow for workflow in workflows}
    # An id is no name: where one is both, the id counts.
    by_name |= {str(workflow.id): workflow for workflow in workflows}
    return {name: by_name[name] for name in wanted & by_name.keys()}


def wake_parents(execution_ids: Collection[UUID], now: datetime) -> None:
    """Let the steps that these runs were started for hear of their end, or that their clock
    stands still now or runs again; call it in the transaction of that.

    A timer does it, at once but in a transaction of its own: whoever ends a child holds the
    child's row, whoever ends a parent takes its children's after its own, and the two must not
    wait for each other. One that is there already is written again: who fires it waits for that.
    """
    write(
        "INSERT INTO workflows_timer (id, workspace_id, kind, subject_id, due_at)"
        f" SELECT id, workspace_id, '{PARENT_WAKE}', id, %s FROM workflows_workflowexecution"
        " WHERE id = ANY(%s) AND parent_step_id IS NOT NULL"
        " ON CONFLICT (subject_id, kind) DO UPDATE SET due_at = EXCLUDED.due_at",
        now, list(execution_ids),
    )  # fmt: skip
    wake_engine()


def wake(subject_ids: Sequence[UUID], now: datetime) -> list[EventDraft]:
    """Have the runs looked at whose children these are (a handler of timers)."""
    children = WorkflowExecution.objects.filter(id__in=subject_ids)
    wake_runs_of(list(children.values_list("parent_step_id", flat=True)), now)
    return []


def wake_runs_of(step_execution_ids: Collection[UUID], now: datetime) -> None:
    """Have the runs of these steps looked at, as far as they have not ended."""
    steps = WorkflowStepExecution.objects.filter(id__in=step_execution_ids)
    live = WorkflowExecution.objects.live().filter(id__in=steps.values("execution_id"))
    locked = live.order_by("id").select_for_update(of=("self",)).values_list("id", flat=True)
    WorkflowExecution.objects.filter(id__in=list(locked)).update(wake_at=now)


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
