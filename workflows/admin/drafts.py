"""The forms of a draft: the workflow's own, and one for each variable and step.

They only read what was typed. Whether it is a workflow is for the service to say, as a whole, and
``place_refusal`` puts what it says beside the fields that it is about.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from workflows.admin.fields import NamesField, StrictJSONField, VerbatimField
from workflows.core.steps import STEP_TYPES, TriggerRule
from workflows.errors import InvalidInput, MgxError
from workflows.models import Workflow, WorkflowStep, WorkflowVariable
from workflows.services.definitions import COLUMNS

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]
    InlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
else:
    ModelForm = forms.ModelForm
    InlineFormSet = forms.BaseInlineFormSet

# Both kinds of parts have it; nothing posted is matched by it.
_PART_KEY = WorkflowStep._meta.pk.name

_MONO = {"class": "vLargeTextField mono", "rows": 2, "spellcheck": "false"}
_TEXT = {"class": "vLargeTextField", "rows": 2}
_NAME = {"class": "vTextField"}


class PartForm(ModelForm):
    """A part of a draft. Its row is never saved, so the row's own checks say nothing here."""

    def _get_validation_exclusions(self) -> set[str]:
        return {field.name for field in self._meta.model._meta.fields}


class WorkflowForm(PartForm):
    """The keys of the definition that are the workflow's own.

    ``expected_revision`` is the draft that the person read, so that nobody overwrites unseen.
    """

    expected_revision = forms.IntegerField(widget=forms.HiddenInput, required=False)
    config = StrictJSONField(help_text='For example <code>{"fail_fast": true}</code>.')
    metadata = StrictJSONField(help_text="Kept for you; MGX does not look at it.")

    class Meta:
        model = Workflow
        fields = ["workspace", "project", *COLUMNS]
        field_classes = {"description": VerbatimField}
        widgets = {"description": forms.Textarea(attrs=_TEXT)}
        help_texts = {
            "timeout_seconds": "Running time of one run; waiting for people does not count.",
            "max_retries": "Of steps that name no number of their own.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.initial["expected_revision"] = self.instance.draft_revision

    def clean(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        project, workspace = cleaned.get("project"), cleaned.get("workspace")
        if project and workspace and project.workspace_id != workspace.pk:
            self.add_error("project", f"This project is not in the workspace {workspace}.")
        return cleaned


class VariableForm(PartForm):
    """An input of the workflow."""

    default_value = StrictJSONField(
        shape="any",
        rows=1,
        help_text='JSON: <code>5</code>, <code>true</code>, a text in quotes: <code>"blue"</code>.',
    )

    class Meta:
        model = WorkflowVariable
        fields = ["name", "data_type", "is_required", "default_value", "description"]
        field_classes = {"description": VerbatimField}
        widgets = {
            "name": forms.TextInput(attrs=_NAME),
            "description": forms.Textarea(attrs={**_TEXT, "rows": 1}),
        }


class StepForm(PartForm):
    """A step of the workflow."""

    step_type = forms.ChoiceField(
        choices=[("", "Choose …"), *((name, name) for name in STEP_TYPES)]
    )
    trigger_rule = forms.ChoiceField(
        choices=[(name, name) for name in get_args(TriggerRule)], initial="all_success"
    )
    depends_on_steps = NamesField(
        label="Depends on",
        help_text="Names of steps, with commas between them; as a JSON list where a name has one.",
    )
    config = StrictJSONField(
        rows=4, help_text="What the step type asks for: task, inputs, approval, retry …"
    )
    metadata = StrictJSONField(rows=2)

    class Meta:
        model = WorkflowStep
        fields = [
            "name",
            "step_type",
            "step_order",
            "depends_on_steps",
            "config",
            "description",
            "agent_definition_id",
            "agent_instance_id",
            "condition_expression",
            "trigger_rule",
            "timeout_seconds",
            "max_retries",
            "metadata",
        ]
        labels = {
            "agent_definition_id": "Agent definition",
            "agent_instance_id": "Agent instance",
        }
        field_classes = {"description": VerbatimField, "condition_expression": VerbatimField}
        widgets = {
            "name": forms.TextInput(attrs=_NAME),
            "description": forms.Textarea(attrs=_TEXT),
            "condition_expression": forms.Textarea(attrs=_MONO),
            "agent_definition_id": forms.TextInput(attrs=_NAME),
            "agent_instance_id": forms.TextInput(attrs=_NAME),
        }
        help_texts = {
            "description": "What the step does to the world, in words for the approver.",
            "step_order": "For ties and display; empty is the place in this list.",
            "agent_definition_id": "Slug or id, of steps of the type agent.",
        }


class PartFormSet(InlineFormSet):
    """All variables, or all steps, of a draft: what is posted replaces the rows there are."""

    def initial_form_count(self) -> int:
        # Posted forms are matched with no rows: those may have been replaced since.
        return 0 if self.is_bound else super().initial_form_count()

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if self.is_bound:
            del form.fields[_PART_KEY]
            del form.fields[self.fk.name]

    def clean(self) -> None:
        """Duplicates are told by the service, with everything else."""

    def standing_forms(self) -> list[Any]:
        """Return the forms that are parts of the draft: not removed, and not left blank."""
        removed = set(self.deleted_forms)
        return [form for form in self.forms if form.has_changed() and form not in removed]


def part_limit() -> int:
    """Return how many parts of a kind one page takes: as many as a definition may have."""
    return int(settings.MGX_MAX_STEPS)


def document_of(form: WorkflowForm, formsets: Sequence[PartFormSet]) -> dict[str, Any]:
    """Return the definition document that valid forms spell out."""
    document = {column: getattr(form.instance, column) for column in COLUMNS}
    for formset in formsets:
        document[str(formset.prefix)] = [
            part.instance.document() for part in formset.standing_forms()
        ]
    return document


def place_refusal(error: MgxError, form: WorkflowForm, formsets: Sequence[PartFormSet]) -> None:
    """Put what a service refused beside the fields that it is about."""
    if isinstance(error, InvalidInput) and error.problems:
        forms_of = {str(formset.prefix): formset.standing_forms() for formset in formsets}
        for problem in error.problems:
            target, rest = _target(list(_parts(problem.path)), form, forms_of)
            _add_error(target, rest, problem.message)
    else:
        field = "name" if error.code == "name_taken" else None
        form.add_error(field, ValidationError(error.message, code=error.code))


def _parts(pointer: str) -> Iterator[str]:
    for part in pointer.split("/")[1:]:
        yield part.replace("~1", "/").replace("~0", "~")


def _target(
    parts: list[str], form: WorkflowForm, forms_of: dict[str, list[Any]]
) -> tuple[Any, list[str]]:
    """Return the form that a pointer leads into, and the way from there."""
    if len(parts) > 1 and parts[0] in forms_of and parts[1].isdecimal():
        return forms_of[parts[0]][int(parts[1])], parts[2:]
    return form, parts


def _add_error(form: Any, parts: list[str], message: str) -> None:
    field = parts[0] if parts and parts[0] in form.fields else None
    inside = ".".join(parts[1:]) if field else ""
    form.add_error(field, f"{inside}: {message}" if inside else message)
