"""What agents were told and said: written as their attempts end, for people to read.

Contents are bounded and without secrets. ``prune`` deletes them after ``MGX_AGENT_MESSAGE_DAYS``,
or with the runs of a workspace that keeps those for a shorter time; what an agent remembers is not
among them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from json import JSONEncoder
from typing import Any
from uuid import UUID

from django.conf import settings

from agents.masking import text_without_secrets, without_secrets
from agents.models import AgentMessage, AgentReservation, MessageRole
from agents.work import Said, Work, as_told, keys_of, memory_of
from workflows.clock import database_now
from workflows.core.canonical import dumps_canonical
from workflows.core.errors import UnstorableError
from workflows.handlers import Ended, StepContext
from workflows.models import Workspace
from workflows.services.retention import BATCH, retention_days

#: Characters of one message, and of all messages of an attempt.
MAX_CONTENT = 20_000
MAX_TOGETHER = 400_000
#: Messages of an attempt that are kept: half of them its first, half of them its last.
MAX_MESSAGES = 200
#: Bytes of what else there is to a message.
_MAX_DATA = 20_000
_SLACK = 1_000
_CUT = " … (cut off here)"


def said_of(context: StepContext, output: Any = None, *, is_done: bool = False) -> list[Said]:
    """Return the conversation of an agent that keeps none: what it remembered and was asked, and
    its output if it ``is_done``."""
    said = []
    if memory := memory_of(context):
        said.append(Said(MessageRole.USER, _text(as_told(memory)), keys_of(memory)))
    said.append(Said(MessageRole.USER, _text(context.inputs)))
    if context.feedback:
        said.append(Said(MessageRole.USER, context.feedback, {"is_feedback": True}))
    if is_done:
        said.append(Said(MessageRole.ASSISTANT, _text(output)))
    return said


def write_messages(
    ended: Sequence[Ended], held: Mapping[UUID, AgentReservation], now: datetime
) -> None:
    """Write what the agents of attempts said, in one statement; of an abandoned one nothing.

    ``held``: what the attempts hold.
    """
    told = [
        (held[each.step_execution_id], each.attempt, each.notes.said)
        for each in ended
        if each.outcome is not None
        and isinstance(each.notes, Work)
        and each.step_execution_id in held
    ]
    AgentMessage.objects.bulk_create(
        AgentMessage(
            workspace_id=place.workspace_id,
            agent_instance_id=place.agent_instance_id,
            step_execution_id=place.step_execution_id,
            attempt=attempt,
            position=position,
            role=MessageRole(said.role),
            content=said.content,
            data=said.data,
            created_at=now,
        )
        for place, attempt, messages in told
        for position, said in _kept(messages)
    )


def prune(batch: int = BATCH) -> int:
    """Delete the messages that are older than they may be, and return how many there were."""
    now, count = database_now(), 0
    for workspace in Workspace.objects.order_by("id"):
        limits = (settings.MGX_AGENT_MESSAGE_DAYS, retention_days(workspace))
        if not (days := min((limit for limit in limits if limit > 0), default=0)):
            continue
        old = AgentMessage.objects.filter(
            workspace=workspace, created_at__lt=now - timedelta(days=days)
        )
        while ids := list(old.order_by("created_at").values_list("id", flat=True)[:batch]):
            count += AgentMessage.objects.filter(id__in=ids).delete()[0]
    return count


def _kept(said: Sequence[Said]) -> list[tuple[int, Said]]:
    """Return the messages that are kept, as they are kept, each with its place among all."""
    places = list(range(len(said)))
    half = MAX_MESSAGES // 2
    if len(places) > MAX_MESSAGES:
        places = places[:half] + places[-half:]
    kept, room = [], MAX_TOGETHER
    for place in places:
        content = _masked(said[place].content, min(MAX_CONTENT, room))
        room = max(0, room - len(content))
        kept.append((place, Said(said[place].role, content, _data(said[place].data))))
    return kept


def _masked(text: str, most: int) -> str:
    """Return a text without secrets and as databases take it, cut off after ``most`` characters."""
    # A little more of it, so that no secret is cut in two and not known for one.
    shown = text[: most + _SLACK].replace("\0", "�").encode("utf-8", "replace").decode("utf-8")
    return text_without_secrets(shown)[:most] + (_CUT if len(text) > most else "")


def _data(data: dict[str, Any]) -> dict[str, Any]:
    try:
        dumps_canonical(data, max_bytes=_MAX_DATA)
    except UnstorableError as error:
        return {"left_out": error.reason}
    masked: dict[str, Any] = without_secrets(data)
    return masked


def _text(value: Any) -> str:
    """Return a text as it is, and the beginning of anything else as JSON."""
    if isinstance(value, str):
        return value
    # Piece by piece, so that of a large value only the beginning is looked at.
    text = ""
    try:
        for piece in JSONEncoder(ensure_ascii=False, indent=2, default=str).iterencode(value):
            text += piece
            if len(text) > MAX_CONTENT:
                break
    except Exception:  # it is what a task made, and may be anything
        return "(This cannot be shown.)"
    return text
