"""The events that steps wait for, by the names under which they are posted."""

from collections.abc import Mapping
from uuid import UUID

from workflows.core.waits import awaited_event, is_reference
from workflows.models import WorkflowStepExecution


def awaited_events(written: Mapping[UUID, str]) -> dict[UUID, str]:
    """Return the names of the events that steps wait for which have begun.

    ``written``: by the steps' ids, the names as the definition has them. Without references in them
    nothing is asked of the database.
    """
    referring = [step_id for step_id, event in written.items() if is_reference(event)]
    rows = WorkflowStepExecution.objects.filter(id__in=referring)
    inputs = dict(rows.values_list("id", "input_data")) if referring else {}
    return {
        step_id: awaited_event(event, inputs.get(step_id)) for step_id, event in written.items()
    }
