"""Definitions: the draft that is edited, and the versions that are published from it."""

from collections.abc import Container, Mapping
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.module_loading import import_string

from workflows.core.canonical import digest
from workflows.core.definition import Limits, WorkflowDefinition
from workflows.core.validation import Context, Known, Report, validate
from workflows.errors import Conflict, InvalidInput, NotVisible, StaleRevision
from workflows.models import (
    Project,
    Role,
    User,
    Workflow,
    WorkflowExecution,
    WorkflowStep,
    WorkflowStepExecution,
    WorkflowVariable,
    WorkflowVersion,
    Workspace,
)
from workflows.policies import FORBID_AUTO_APPROVAL
from workflows.services.access import require_role
from workflows.tasks import input_problems, known_tasks

#: The keys of a definition document that are columns of the workflow itself.
COLUMNS = ("name", "description", "timeout_seconds", "max_retries", "config", "metadata")


def definition_limits() -> Limits:
    """Return what a definition may measure here; its bytes grow with the steps allowed."""
    steps = settings.MGX_MAX_STEPS
    return Limits(steps=steps, document_bytes=max(Limits().document_bytes, steps * 1024))


def draft_document(workflow: Workflow) -> dict[str, Any]:
    """Return the draft of ``workflow`` as a definition document."""
    return {
        **{column: getattr(workflow, column) for column in COLUMNS},
        "variables": [variable.document() for variable in workflow.variables.all()],
        "steps": [step.document() for step in workflow.steps.all()],
    }


def validate_document(document: Any, *, workspace: Workspace) -> Report:
    """Check a document as it would be checked on saving it, with everything that is wrong."""
    return validate(document, context=_known_in(workspace, document), limits=definition_limits())


def create_workflow(
    *,
    workspace: Workspace,
    document: Any,
    user: User | None,
    project: Project | None = None,
    publish: bool = True,
) -> Workflow:
    """Store a definition as a new workflow, and as its version 1 if ``publish``.

    Raises:
        NotVisible, NotPermitted: the user is no editor of the workspace.
        InvalidInput: ``invalid_definition``, with every problem.
        Conflict: ``name_taken``.
    """
    _require_editor(user, workspace)
    definition = _require_valid(validate_document(document, workspace=workspace))
    with transaction.atomic():
        workflow = Workflow(workspace=workspace, project=project, created_by=user)
        _save_draft(workflow, document)
        if publish:
            _add_version(workflow, definition, user)
    return workflow


def replace_draft(
    workflow: Workflow, document: Any, *, user: User | None, expected_revision: int | None = None
) -> Workflow:
    """Make ``document`` the draft; published versions and their runs stay as they are.

    Raises:
        NotVisible, NotPermitted: the user is no editor of the workspace.
        InvalidInput: ``invalid_definition``, with every problem; nothing is changed.
        StaleRevision: the draft is not at ``expected_revision`` any more.
        Conflict: ``name_taken``.
    """
    _require_editor(user, workflow.workspace)
    with transaction.atomic():
        draft = _lock(workflow, expected_revision)
        _replace(draft, document)
    return draft


def change_draft(
    workflow: Workflow,
    changes: Mapping[str, Any],
    *,
    user: User | None,
    expected_revision: int | None = None,
) -> Workflow:
    """Replace those keys of the draft's document that ``changes`` has, each as a whole.

    Raises:
        As ``replace_draft``.
    """
    _require_editor(user, workflow.workspace)
    with transaction.atomic():
        draft = _lock(workflow, expected_revision)
        _replace(draft, {**draft_document(draft), **changes})
    return draft


def publish(
    workflow: Workflow, *, user: User | None, expected_revision: int | None = None
) -> WorkflowVersion:
    """Make the draft the version that new runs start from.

    A draft that says what the current version says makes no new one: that version is returned.

    Raises:
        NotVisible, NotPermitted: the user is no editor of the workspace.
        InvalidInput: ``invalid_definition``: what the draft names may have gone since it was saved.
        StaleRevision: the draft is not at ``expected_revision`` any more.
    """
    _require_editor(user, workflow.workspace)
    with transaction.atomic():
        draft = _lock(workflow, expected_revision)
        report = validate_document(draft_document(draft), workspace=workflow.workspace)
        version = _add_version(draft, _require_valid(report), user)
    workflow.published_version = version
    return version


def delete_workflow(
    workflow: Workflow, *, user: User | None = None, expected_revision: int | None = None
) -> None:
    """Delete a workflow with its versions and its ended runs; its events stay.

    So do the runs of other workflows that its own ran: as runs of nobody else.

    Raises:
        NotVisible, NotPermitted: the user is no editor of the workspace.
        StaleRevision: the draft is not at ``expected_revision`` any more.
        Conflict: ``has_live_executions``.
    """
    _require_editor(user, workflow.workspace)
    with transaction.atomic():
        draft = _lock(workflow, expected_revision)
        live = WorkflowExecution.objects.filter(workflow=draft).live().count()
        if live:
            raise Conflict(
                f"{live} of its runs have not ended. Cancel them or let them end first.",
                code="has_live_executions",
                live_executions=live,
            )
        Workflow.objects.filter(pk=draft.pk).update(published_version=None)
        steps = WorkflowStepExecution.objects.filter(
            execution__workflow=draft, step_type="workflow"
        )
        ran = WorkflowExecution.objects.filter(parent_step_id__in=steps.values("id"))
        ran.update(parent_step_id=None)
        WorkflowExecution.objects.filter(workflow=draft).delete()
        WorkflowVersion.objects.filter(workflow=draft).delete()
        draft.delete()


def _require_editor(user: User | None, workspace: Workspace) -> None:
    if user is not None:
        require_role(user, workspace.pk, Role.EDITOR)


def _lock(workflow: Workflow, expected_revision: int | None) -> Workflow:
    """Return the workflow as it is now, held until the transaction ends."""
    rows = Workflow.objects.select_for_update(of=("self",))
    draft: Workflow | None = rows.filter(pk=workflow.pk).first()
    if draft is None:
        raise NotVisible("There is no such workflow any more")
    if expected_revision is not None and draft.draft_revision != expected_revision:
        raise StaleRevision(
            f"The draft was changed: you have revision {expected_revision}, it is at"
            f" {draft.draft_revision}. Read it again.",
            revision=draft.draft_revision,
        )
    return draft


def _replace(draft: Workflow, document: Any) -> None:
    """Write a document over a draft that is locked."""
    _require_valid(validate_document(document, workspace=draft.workspace))
    draft.draft_revision += 1
    draft.steps.all().delete()
    draft.variables.all().delete()
    _save_draft(draft, document)


def _require_valid(report: Report) -> WorkflowDefinition:
    if report.definition is None or report.errors:
        raise InvalidInput(
            "The definition is not valid.", list(report.errors), code="invalid_definition"
        )
    return report.definition


def _save_draft(workflow: Workflow, document: Mapping[str, Any]) -> None:
    """Write the rows of a valid document; what it leaves out, or gives as null, is the default."""
    defaults = Workflow()
    for column in COLUMNS:
        given = document.get(column)
        setattr(workflow, column, getattr(defaults, column) if given is None else given)
    try:
        with transaction.atomic():
            workflow.save()
    except IntegrityError:
        raise Conflict(
            f"There is a workflow '{workflow.name}' in this workspace already.", code="name_taken"
        ) from None
    WorkflowVariable.objects.bulk_create(
        WorkflowVariable(workflow=workflow, position=position, **_given(variable))
        for position, variable in enumerate(document.get("variables") or ())
    )
    WorkflowStep.objects.bulk_create(
        WorkflowStep(workflow=workflow, position=position, **_given(step))
        for position, step in enumerate(document["steps"])
    )


def _given(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if value is not None}


def _add_version(
    workflow: Workflow, definition: WorkflowDefinition, user: User | None
) -> WorkflowVersion:
    # Every default is written out: a version means tomorrow what it means today.
    document = definition.model_dump(mode="json", exclude_none=True)
    sha256 = digest(document, max_bytes=definition_limits().document_bytes)
    current = workflow.published_version
    if current is not None and current.digest == sha256:
        return current
    version = WorkflowVersion.objects.create(
        workflow=workflow,
        number=current.number + 1 if current else 1,
        definition=document,
        digest=sha256,
        published_by=user,
    )
    workflow.published_version = version
    workflow.save(update_fields=["published_version", "updated_at"])
    return version


def _known_in(workspace: Workspace, document: Any) -> Context:
    """Return what a definition of ``workspace`` may name; the settings say who knows it."""
    own_name = document.get("name") if isinstance(document, dict) else None
    itself = {own_name} if isinstance(own_name, str) else set()

    def known(kind: str) -> Known | None:
        if kind not in settings.REFERENCE_CHECKS:
            return None

        def known_names(names: frozenset[str]) -> frozenset[str]:
            check = import_string(settings.REFERENCE_CHECKS[kind])
            return names - frozenset(check(names, workspace=workspace))

        return known_names

    stored_workflows = known("workflows")

    def known_workflows(names: frozenset[str]) -> Container[str]:
        # A workflow may run itself, also while it is not stored yet.
        others = names - itself
        stored = stored_workflows(others) if stored_workflows and others else others
        return {name for name in names if name in itself or name in stored}

    return Context(
        known_tasks=lambda names: known_tasks(),
        known_agents=known("agents"),
        known_agent_instances=known("agents"),
        known_approvers=known("approvers"),
        known_workflows=known_workflows,
        task_problems=input_problems,
        form_problems=import_string(settings.FORM_CHECK),
        allows_auto_approval=not workspace.settings.get(FORBID_AUTO_APPROVAL, False),
    )
