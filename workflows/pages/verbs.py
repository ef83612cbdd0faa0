"""What the page of a run lets its reader do with it: which verbs there are, and doing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from workflows.core.states import RETRYABLE_EXECUTION_STATUSES
from workflows.errors import Conflict, InvalidInput
from workflows.models import WorkflowExecution
from workflows.pages.reader import PageRequest, page
from workflows.services.executions import visible_execution
from workflows.services.verbs import (
    is_awaited,
    pause_execution,
    rerun_execution,
    resume_execution,
    retry_execution,
)

DOOR: Final = "page"
HAS_ENDED: Final = "this run has ended"


@dataclass(frozen=True, slots=True)
class Verb:
    """Something to be done with a run. ``why``: why it cannot be, "" where it can.

    ``style`` is that of its button; ``is_page``: the address is that of a page that asks first.
    """

    name: str
    label: str
    icon: str
    url: str
    why: str = ""
    style: Literal["primary", "danger", ""] = ""
    is_page: bool = False

    @property
    def enabled(self) -> bool:
        return not self.why


def verbs_of(run: WorkflowExecution) -> list[Verb]:
    """Return the verbs of a run in their order, those that are not possible now included."""
    is_paused = run.is_paused and not run.is_ended
    cannot_retry = _why_no_retry(run)
    cannot_rerun = "" if run.workflow.published_version_id else "its workflow is not published"
    ended = HAS_ENDED if run.is_ended else ""

    def address(verb: str) -> str:
        return reverse(f"{verb}_execution", args=[run.pk])

    return [
        Verb("resume", "Resume run", "play", address("resume"), style="primary")
        if is_paused
        else Verb("pause", "Pause run", "bars", address("pause"), why=ended),
        Verb(
            "retry",
            "Retry failed steps",
            "loop",
            address("retry"),
            why=cannot_retry,
            style="" if cannot_retry else "primary",
        ),
        Verb("rerun", "Run again", "arrows", address("rerun"), why=cannot_rerun),
        Verb(
            "cancel", "Cancel run…", "slash", address("cancel"), ended, style="danger", is_page=True
        ),
    ]


def say_impossible(verbs: Iterable[Verb]) -> list[str]:
    """Say of the verbs that are not possible why, those that have the same reason together."""
    labels: dict[str, list[str]] = {}
    for verb in verbs:
        if verb.why:
            labels.setdefault(verb.why, []).append(verb.label.removesuffix("…"))
    return [f"{', '.join(named)}: {why}." for why, named in labels.items()]


def _why_no_retry(run: WorkflowExecution) -> str:
    if not run.is_ended:
        return "this run has not ended"
    if run.status not in RETRYABLE_EXECUTION_STATUSES:
        return "nothing in this run failed"
    if run.parent_step_id and not is_awaited(run.parent_step_id):
        return "nothing waits for this run any more; retry the run that started it"
    return ""


@require_POST
@page
def pause(request: PageRequest, execution_id: UUID) -> HttpResponse:
    """Let nothing more of a run start."""
    verb = partial(pause_execution, execution_id, user=request.user)
    return _do(request, execution_id, verb, "is paused. What runs already ends")


@require_POST
@page
def resume(request: PageRequest, execution_id: UUID) -> HttpResponse:
    """Let a paused run go on."""
    verb = partial(resume_execution, execution_id, user=request.user)
    return _do(request, execution_id, verb, "goes on")


@require_POST
@page
def retry(request: PageRequest, execution_id: UUID) -> HttpResponse:
    """Do the failed steps of a run anew."""
    verb = partial(retry_execution, execution_id, user=request.user)
    return _do(request, execution_id, verb, "goes on with the steps that failed")


@require_POST
@page
def rerun(request: PageRequest, execution_id: UUID) -> HttpResponse:
    """Start a run with the inputs of an earlier one; where they do not fit, ask for others."""
    verb = partial(rerun_execution, execution_id, user=request.user, door=DOOR)
    try:
        return _do(request, execution_id, verb, "has started")
    except InvalidInput as refusal:
        wrong = " ".join(f"{problem.message}." for problem in refusal.problems)
        messages.error(
            request,
            "The inputs of that run do not fit what is published now."
            f" {wrong} Start a run with others.",
        )
        return redirect("workflow", visible_execution(execution_id, request.user).workflow_id)


def _do(
    request: PageRequest, execution_id: UUID, verb: Callable[[], Any], words: str
) -> HttpResponse:
    """Do it, and go to the page of the run that it brought."""
    try:
        run = verb()
    except Conflict as refusal:
        messages.error(request, f"{refusal.message}. Nothing was changed.")
        return redirect("execution", execution_id)
    messages.success(request, f"{run.workflow.name}, run {run.number}, {words}.")
    return redirect("execution", run.pk)
