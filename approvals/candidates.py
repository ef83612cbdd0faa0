"""Which requests could wait for a person, found from the approvers' side.

``rights.MAY_DECIDE`` looks at one request and asks whether a person may decide on it: right for
one request, slow for a hundred thousand. This condition finds the few that it has to be asked of,
by the indexes on approvers. It holds wherever ``MAY_DECIDE`` holds on a pending request, and
elsewhere too: it decides nothing.
"""

from django.db import connection
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from workflows.models import Role

#: The entries that a role fulfils, as rows of (role of the entry, role of the member).
_HELD = ", ".join(
    f"('{entry.value}', '{held}')"
    for entry in Role
    for held in Role.from_(entry)
    if held in Role.from_(Role.APPROVER)
)

#: Whose places the person takes: their own, and those of whom they are a delegate.
_SEATS = """(SELECT id AS user_id FROM workflows_user WHERE id = %s
    UNION SELECT delegator_id FROM approvals_delegation
    WHERE delegate_id = %s AND revoked_at IS NULL) AS seat"""

#: Identifiers are in the order of time: what came before the oldest pending request is decided.
_SINCE = """n.approval_id >= (SELECT id FROM workflow_step_approvals
    WHERE status = 'pending' ORDER BY id LIMIT 1)"""
_APPROVER = "approvals_approvalapprover n"

#: The identifiers; the seven places are the user's id.
_CANDIDATES = f"""
    SELECT n.approval_id FROM {_SEATS}
        JOIN {_APPROVER} ON n.user_id = seat.user_id AND {_SINCE}
    UNION ALL SELECT n.approval_id FROM {_SEATS}
        JOIN workflows_user_groups g ON g.user_id = seat.user_id
        JOIN {_APPROVER} ON n.group_id = g.group_id AND {_SINCE}
    UNION ALL SELECT n.approval_id FROM {_SEATS}
        JOIN workflows_membership m ON m.user_id = seat.user_id
        JOIN (VALUES {_HELD}) AS held ON held.column2 = m.role
        JOIN {_APPROVER} ON n.role = held.column1 AND NOT (n.role = '') AND {_SINCE}
    UNION ALL SELECT a.id FROM workflows_membership m
        JOIN workflow_step_approvals a ON a.workspace_id = m.workspace_id
        WHERE m.user_id = %s AND a.status = 'pending' AND a.required_approvers = '[]'"""
#: PostgreSQL makes an array of them first: it cannot know how few they are, and would rather
#: walk over all requests in the order that is asked for.
_ARE_AMONG = {"postgresql": "= ANY (ARRAY(%s))", "sqlite": "IN (%s)"}


def may_wait_for(user_id: int) -> RawSQL:
    """Return the condition on a request that it could wait for a person. On a query's own table."""
    among = _ARE_AMONG[connection.vendor].replace("%s", _CANDIDATES)
    sql = f"workflow_step_approvals.status = 'pending' AND workflow_step_approvals.id {among}"
    return RawSQL(sql, [user_id] * 7, output_field=BooleanField())
