"""What the answer to a request's form changes in its payload."""

from dataclasses import replace
from typing import Any

from approvals.files import file_problems
from approvals.forms import check_response, edit_payload
from approvals.models import Outcome, WorkflowStepApproval
from workflows.core.canonical import dumps_canonical
from workflows.core.errors import Problem, UnstorableError
from workflows.errors import InvalidInput


def edited_payload(approval: WorkflowStepApproval, outcome: str, response_data: Any) -> Any:
    """Return the payload as the answer leaves it, None if that is as it was.

    Raises InvalidInput ``invalid_response`` for an answer that is not as its form wants it. Who
    does not approve may leave the form out, and edits nothing.
    """
    schema = approval.approval_metadata.get("form_schema")
    is_approved = outcome == Outcome.APPROVED
    if schema is None or (not is_approved and response_data is None):
        return None
    data = {} if response_data is None else response_data
    problems = check_response(schema, data)
    payload = None
    if is_approved and not problems:
        payload, problems = _with_edits(schema, approval.approval_data, data)
    if problems:
        moved = [replace(each, path=f"/response_data{each.path}") for each in problems]
        raise InvalidInput(moved[0].message, moved, code="invalid_response")
    return payload


def _with_edits(schema: dict[str, Any], payload: Any, data: Any) -> tuple[Any, list[Problem]]:
    """Return the edited payload, None where nothing changes, and why it cannot be kept."""
    try:
        edited = edit_payload(schema, payload, data)
        is_same = dumps_canonical(edited) == dumps_canonical(payload)
    except InvalidInput as mistake:
        return None, mistake.problems
    except UnstorableError as error:
        return None, [Problem("", error.reason, error.message, "")]
    if is_same:
        return None, []
    return edited, [replace(problem, path="") for problem in file_problems(edited)]
