"""The pages of runs and workflows: each view parses, asks one thing, and answers."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from workflows.clock import database_now
from workflows.core.states import ExecutionStatus
from workflows.errors import Conflict, InvalidInput, StaleRevision
from workflows.models import Role, Workflow, WorkflowExecution
from workflows.pages import PageRequest, answer, enter_workspace, page, read_words, take_page
from workflows.pages.execution import ExecutionPage
from workflows.pages.verbs import say_impossible, verbs_of
from workflows.pages.workflow import WorkflowPage
from workflows.services.definitions import publish
from workflows.services.executions import MAX_REASON, cancel_execution, start_execution

DOOR: Final = "page"

EXECUTION_REGIONS: Final = {
    "head": "workflows/execution/head.html",
    "graph": "workflows/execution/graph.html",
    "steps": "workflows/execution/steps.html",
    "chosen": "workflows/execution/chosen.html",
    "events": "workflows/execution/events.html",
}


@require_safe
@page
def executions(request: PageRequest) -> HttpResponse:
    """The runs of the workspace, newest first, by workflow, status and words."""
    workflows = _workflows(request).order_by("name").only("id", "name")
    found = _filtered_executions(request)
    context = {
        "place": "executions",
        "listing": take_page(found, request.GET.get("page")),
        "workflows": workflows,
        "statuses": list(ExecutionStatus),
        "is_filtered": any(request.GET.get(name) for name in ("q", "workflow", "status")),
    }
    regions = {"executions": "workflows/executions/list.html"}
    return answer(request, "workflows/executions.html", context, regions=regions)


@require_safe
@page
def execution(request: PageRequest, execution_id: UUID) -> HttpResponse:
    """One run: status, figures, graph, steps, the chosen step's data, events."""
    run = _execution(request, execution_id)
    shown = ExecutionPage(
        run,
        database_now(),
        request.user,
        chosen=request.GET.get("step", ""),
        revision=_number(request.GET.get("revision")) or 0,
        view=request.GET.get("view", ""),
        opened=tuple(request.GET.getlist("open")),
        page=_number(request.GET.get("page")) or 1,
    )
    verbs = verbs_of(run)
    context = {
        "place": "executions",
        "shown": shown,
        "run": run,
        "verbs": verbs,
        "impossible": say_impossible(verbs),
        **_rights(request),
    }
    return answer(request, "workflows/execution.html", context, regions=EXECUTION_REGIONS)


@require_http_methods(["GET", "HEAD", "POST"])
@page
def cancel(request: PageRequest, execution_id: UUID) -> HttpResponse:
    """Ask why a run is to be cancelled, then cancel it."""
    run = _execution(request, execution_id)
    reason = request.POST.get("reason", "").strip().replace("\r\n", "\n")
    context = {"place": "executions", "run": run, "reason": reason, "longest": MAX_REASON}
    context |= _rights(request)
    if request.method != "POST":
        return answer(request, "workflows/cancel.html", context)
    try:
        cancel_execution(run.pk, user=request.user, reason=reason)
    except InvalidInput as refusal:
        context["error"] = refusal.message
        return answer(request, "workflows/cancel.html", context, status=400)
    except Conflict as refusal:
        messages.error(request, f"{refusal.message}. Nothing was changed.")
    else:
        messages.success(request, f"{run.workflow.name}, run {run.number}, is cancelled.")
    return redirect("execution", run.pk)


@require_safe
@page
def workflows(request: PageRequest) -> HttpResponse:
    """The workflows of the workspace."""
    words = read_words(request.GET.get("q"))
    found = _workflows(request).select_related("published_version", "project")
    found = found.defer("published_version__definition").order_by("name")
    if words:
        found = found.filter(Q(name__icontains=words) | Q(description__icontains=words))
    context = {
        "place": "workflows",
        "listing": take_page(found, request.GET.get("page")),
        "is_filtered": bool(words),
        **_rights(request),
    }
    regions = {"workflows": "workflows/workflows/list.html"}
    return answer(request, "workflows/workflows.html", context, regions=regions)


@require_safe
@page
def workflow(request: PageRequest, workflow_id: UUID) -> HttpResponse:
    """One workflow: picture, changes of the draft, start form, runs, versions."""
    shown = WorkflowPage(_workflow(request, workflow_id), database_now())
    return _answer_workflow(request, shown)


@require_POST
@page
def start(request: PageRequest, workflow_id: UUID) -> HttpResponse:
    """Start a run with the values of the form; what is wrong is said beside them."""
    chosen = _workflow(request, workflow_id)
    shown = WorkflowPage(chosen, database_now(), request.POST.dict())
    values = shown.form.read()
    if shown.form.is_valid:
        try:
            run = start_execution(chosen, input_variables=values, user=request.user, door=DOOR)
        except InvalidInput as refusal:
            shown.form.mark(refusal.message, refusal.problems)
        except Conflict as refusal:
            shown.form.mark(refusal.message)
        else:
            messages.success(request, f"{chosen.name}, run {run.number}, has started.")
            return redirect("execution", run.pk)
    return _answer_workflow(request, shown, status=400)


@require_POST
@page
def publish_draft(request: PageRequest, workflow_id: UUID) -> HttpResponse:
    """Make the draft the version that new runs start from."""
    chosen = _workflow(request, workflow_id)
    try:
        seen = _number(request.POST.get("draft_revision"))
        version = publish(chosen, user=request.user, expected_revision=seen)
    except InvalidInput as refusal:
        first = refusal.problems[0].message if refusal.problems else refusal.message
        messages.error(request, f"The draft is not valid: {first}. Nothing was published.")
    except StaleRevision:
        messages.error(request, "The draft was changed meanwhile. Nothing was published.")
    else:
        messages.success(request, f"Version {version.number} is live. New runs start from it.")
    return redirect("workflow", chosen.pk)


def _answer_workflow(request: PageRequest, shown: WorkflowPage, status: int = 200) -> HttpResponse:
    context = {"place": "workflows", "shown": shown, **_rights(request)}
    regions = {
        "figures": "workflows/workflow/figures.html",
        "runs": "workflows/workflow/runs.html",
    }
    return answer(request, "workflows/workflow.html", context, regions=regions, status=status)


def _rights(request: PageRequest) -> dict[str, Any]:
    """Which verbs are the reader's; the services check again."""
    may = request.reader.may
    return {"may_operate": may(Role.OPERATOR), "may_edit": may(Role.EDITOR)}


def _workflows(request: PageRequest) -> QuerySet[Workflow]:
    found: QuerySet[Workflow] = Workflow.objects.visible_to(request.user)
    return found.filter(workspace=request.reader.workspace)


def _workflow(request: PageRequest, workflow_id: UUID) -> Workflow:
    found = Workflow.objects.visible_to(request.user).filter(pk=workflow_id)
    chosen: Workflow | None = found.select_related("published_version", "project").first()
    if chosen is None:
        raise Http404
    enter_workspace(request, chosen.workspace_id)
    return chosen


def _execution(request: PageRequest, execution_id: UUID) -> WorkflowExecution:
    """A run, in the workspace that it belongs to."""
    found = WorkflowExecution.objects.visible_to(request.user).filter(pk=execution_id)
    chosen: WorkflowExecution | None = found.select_related(
        "workflow", "version", "started_by", "project"
    ).first()
    if chosen is None:
        raise Http404
    enter_workspace(request, chosen.workspace_id)
    return chosen


def _filtered_executions(request: PageRequest) -> QuerySet[WorkflowExecution]:
    found: QuerySet[WorkflowExecution] = (
        WorkflowExecution.objects.visible_to(request.user)
        .filter(workspace=request.reader.workspace)
        .select_related("workflow", "project", "started_by")
        .defer("input_variables", "output_data")
        .order_by("-created_at")
    )
    words = read_words(request.GET.get("q"))
    if (number := _number(words)) is not None:
        found = found.filter(number=number)
    elif words:
        found = found.filter(workflow__name__icontains=words)
    if (status := request.GET.get("status")) in set(ExecutionStatus):
        found = found.filter(status=status)
    if workflow_id := _uuid(request.GET.get("workflow")):
        found = found.filter(workflow_id=workflow_id)
    return found


def _number(text: str | None) -> int | None:
    """A whole number that fits every column; None for anything else."""
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) < 10
    return int(text) if text and is_number else None


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
