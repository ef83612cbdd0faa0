"""What a person says in the admin to the requests that they were shown."""

from typing import Any
from uuid import UUID

from django import forms
from django.utils.html import escape

from approvals.forms import fields_of
from approvals.models import Outcome, WorkflowStepApproval
from approvals.services.decisions import Decision
from workflows.admin.fields import StrictJSONField

_FEEDBACK = forms.Textarea(attrs={"class": "vLargeTextField", "rows": 4})


class DecisionForm(forms.Form):
    """A decision on one request, with the digest and the revision of what was shown."""

    required_css_class = "required"

    outcome = forms.ChoiceField(
        label="Your decision",
        choices=[
            (Outcome.APPROVED, "Approve"),
            (Outcome.REQUEST_CHANGES, "Request changes"),
            (Outcome.REJECTED, "Reject"),
        ],
        widget=forms.RadioSelect,
    )
    feedback = forms.CharField(
        required=False,
        widget=_FEEDBACK,
        help_text="Needed to reject or to request changes: what is wrong, what should change.",
    )
    response_data = StrictJSONField(label="Answer", rows=8)
    digest = forms.CharField(widget=forms.HiddenInput)
    revision = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(self, data: Any, approval: WorkflowStepApproval) -> None:
        schema = approval.approval_metadata.get("form_schema")
        shown: dict[str, Any] = {"digest": approval.digest, "revision": approval.revision}
        if schema:
            shown["response_data"] = _answer(schema, approval.approval_data)
        super().__init__(data, initial=shown)
        if schema:
            self.fields["response_data"].help_text = _help(schema)
        else:
            del self.fields["response_data"]

    def decision_on(self, approval_id: UUID) -> Decision:
        """Return the decision that a valid form spells out."""
        said = self.cleaned_data
        is_approved = said["outcome"] == Outcome.APPROVED
        return Decision(
            approval_id,
            said["outcome"],
            said["feedback"],
            response_data=said.get("response_data") if is_approved else None,
            digest=said["digest"],
            revision=said["revision"],
        )


class ManyForm(forms.Form):
    """What a person says to several requests at once."""

    feedback = forms.CharField(required=False, widget=_FEEDBACK)


def _answer(schema: dict[str, Any], payload: Any) -> dict[str, Any]:
    """Return the answer that changes nothing: what each field holds at first."""
    fields = fields_of(schema, payload)
    return {field.name: field.value for field in fields if field.value is not None}


def _help(schema: dict[str, Any]) -> str:
    names = ", ".join(
        f"{field.name}{' (needed)' if field.is_required else ''}" for field in fields_of(schema, {})
    )
    # What the template shows as it is was written by who knows whom.
    return escape(f"JSON, for an approval. Its fields: {names}.")
