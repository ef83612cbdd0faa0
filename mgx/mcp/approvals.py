"""Tools about requests for a decision: ask, wait, look, answer, withdraw. None of them decides."""

from typing import Annotated, Any, Literal

from pydantic import Field

from approvals.services.requests import MAX_WAIT_SECONDS
from mgx.mcp.rest import Caller
from mgx.mcp.tools import (
    Cursor,
    Id,
    IdempotencyKey,
    Limit,
    Tool,
    Workspace,
    given,
    next_cursor,
    page_url,
)


class RequestApproval(Tool):
    """Ask people to decide about something before you do it.

    Returns at once with the request's id; `wait_for_decision` waits. Do nothing until its status is
    `approved`, and then exactly what its `payload` says: people may have edited it.
    """

    name_ = "request_approval"
    reads_only = False
    named_here = {
        "approval_data": "payload",
        "required_approvers": "approvers",
        "parent_approval_id": "revises",
    }

    title: Annotated[str, Field(description="What is to be approved, in a line")]
    description: Annotated[str | None, Field(description="Why, for people; Markdown")] = None
    payload: Annotated[
        dict[str, Any] | None,
        Field(description="Exactly what will be done if it is approved; `digest` is made of it"),
    ] = None
    approvers: Annotated[
        list[str] | None,
        Field(description="Usernames, `group:NAME`, `role:NAME`; nobody named: every approver"),
    ] = None
    min_approvals: Annotated[
        int | Literal["all"] | None, Field(description="How many of them have to approve; 1")
    ] = None
    risk: Annotated[
        Literal["low", "medium", "high"] | None, Field(description="How much can go wrong")
    ] = None
    expires_after_seconds: Annotated[
        int | None, Field(description="After which nobody can approve it any more; 86400")
    ] = None
    form_schema: Annotated[
        dict[str, Any] | None,
        Field(description="JSON Schema of what approvers fill in, returned as `response_data`"),
    ] = None
    revises: Annotated[
        Id | None, Field(description="A request of yours to which changes were requested")
    ] = None
    workspace: Workspace = None
    project: Annotated[str | None, Field(description="The project's slug or id")] = None
    idempotency_key: IdempotencyKey = None

    async def answer(self, api: Caller) -> dict[str, Any]:
        names = set(type(self).model_fields) - {"idempotency_key"}
        made = await api.post(
            "approvals/", given(self, *names), idempotency_key=self.idempotency_key
        )
        return _summary(made) | {"missing": made["missing"]}


class WaitForDecision(Tool):
    """Wait until a request is decided, at most `seconds`; call it again while it is `pending`.

    `approved`: carry out `payload`, which `digest` vouches for, with what people filled in as
    `response_data`. `request_changes`: `feedback` says what to change; ask again with `revises`.
    Anything else: do not do it. A question in `questions` without an answer is for you to answer.
    """

    name_ = "wait_for_decision"
    named_here = {"timeout": "seconds"}

    id: Id
    seconds: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] = 30.0

    async def answer(self, api: Caller) -> dict[str, Any]:
        return _decided(await api.get(f"approvals/{self.id}/wait/", timeout=self.seconds))


class GetApproval(Tool):
    """A request as it is now, with everything that is known about it."""

    name_ = "get_approval"

    id: Id

    async def answer(self, api: Caller) -> dict[str, Any]:
        found = await api.get(f"approvals/{self.id}/")
        asked = ("description", "required_approvers", "approvals_given", "approvals_needed")
        told = ("missing", "decisions", "revisions", "workflow_execution_id", "form_schema")
        return _decided(found) | {name: found[name] for name in (*asked, *told)}


class ListApprovals(Tool):
    """The requests of your workspaces, the latest first."""

    name_ = "list_approvals"
    named_here = {"workflow_execution": "run"}

    status: Literal[
        "pending", "approved", "rejected", "request_changes", "cancelled", "timeout", None
    ] = None
    run: Annotated[Id | None, Field(description="Those of a run")] = None
    workspace: Workspace = None
    limit: Limit = None
    cursor: Cursor = None

    async def answer(self, api: Caller) -> dict[str, Any]:
        page = await api.get("approvals/", **given(self, *type(self).model_fields))
        rows = [_summary(each) for each in page["results"]]
        return {"approvals": rows, "next_cursor": next_cursor(page)}


class AnswerQuestion(Tool):
    """Answer what an approver asks about a request of yours; until then its clock stands still."""

    name_ = "answer_question"
    reads_only = False
    named_here = {"body": "answer_text"}

    question_id: Id
    answer_text: str

    async def answer(self, api: Caller) -> dict[str, Any]:
        return await api.post(f"questions/{self.question_id}/answer/", {"body": self.answer_text})


class CancelRequest(Tool):
    """Withdraw a request of yours that is still waiting and belongs to no run."""

    name_ = "cancel_request"
    reads_only = False

    id: Id

    async def answer(self, api: Caller) -> dict[str, Any]:
        return _summary(await api.post(f"approvals/{self.id}/cancel/", {}))


def _summary(approval: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "workspace", "workflow", "title", "status", "risk", "digest", "revision")
    who = {"requested_by": "requested_by", "decided_by": "approved_by", "feedback": "feedback"}
    when = {
        "requested_at": "requested_at",
        "decided_at": "responded_at",
        "expires_at": "expires_at",
    }
    return {
        **{name: approval[name] for name in names},
        **{here: approval[name] for here, name in (who | when).items()},
        "url": page_url("request", approval["id"]),
    }


def _decided(approval: dict[str, Any]) -> dict[str, Any]:
    return {
        **_summary(approval),
        "payload": approval["approval_data"],
        "response_data": approval["response_data"],
        "questions": approval["questions"],
    }


TOOLS: tuple[type[Tool], ...] = (
    RequestApproval,
    WaitForDecision,
    GetApproval,
    ListApprovals,
    AnswerQuestion,
    CancelRequest,
)
