"""Starting a run from the admin: a form made of the published version's variables."""

from typing import Any

from django import forms

from workflows.admin.fields import StrictJSONField, VerbatimField
from workflows.errors import InvalidInput, MgxError
from workflows.models import WorkflowVersion

_PREFIX = "variables"


class StartForm(forms.Form):
    """One field a variable. What is left empty is left out, and so has its default."""

    required_css_class = "required"

    def __init__(self, version: WorkflowVersion, data: Any = None) -> None:
        super().__init__(data, prefix=_PREFIX)
        self.variables: dict[str, dict[str, Any]] = {
            variable["name"]: variable for variable in version.definition.get("variables", ())
        }
        for name, variable in self.variables.items():
            self.fields[name] = _field(variable)

    def inputs(self) -> dict[str, Any]:
        """Return the values of a valid form, as the service takes them."""
        return {
            name: value for name, value in self.cleaned_data.items() if self._is_given(name, value)
        }

    def place_refusal(self, error: MgxError) -> None:
        """Put what the service refused beside the variables that it is about."""
        if not isinstance(error, InvalidInput) or not error.problems:
            self.add_error(None, error.message)
            return
        for problem in error.problems:
            name = problem.path.removeprefix("/input_variables/")
            self.add_error(name if name in self.fields else None, problem.message)

    def _is_given(self, name: str, value: Any) -> bool:
        variable = self.variables[name]
        if value == "" and variable["data_type"] == "string":
            # An emptied default is an empty text; a field nobody touched is nothing.
            return variable.get("default_value") not in (None, "")
        return value is not None and value != ""


def needs_values(version: WorkflowVersion) -> bool:
    """Tell whether a run cannot start without being told something."""
    return any(_is_required(variable) for variable in version.definition.get("variables", ()))


def _is_required(variable: dict[str, Any]) -> bool:
    return bool(variable.get("is_required")) and variable.get("default_value") is None


def _field(variable: dict[str, Any]) -> forms.Field:
    default = variable.get("default_value")
    common: dict[str, Any] = {
        "label": variable["name"],
        "required": _is_required(variable),
        "help_text": variable.get("description", ""),
        "initial": default,
    }
    match variable["data_type"]:
        case "int":
            return forms.IntegerField(**common)
        case "float":
            return forms.FloatField(**common)
        case "bool":
            return _bool_field(common)
        case "json":
            return StrictJSONField(shape="any", **common)
        case _:
            attrs = {"class": "vLargeTextField", "rows": 2}
            return VerbatimField(widget=forms.Textarea(attrs=attrs), **common)


def _bool_field(common: dict[str, Any]) -> forms.Field:
    initial = common.pop("initial")
    return forms.TypedChoiceField(
        choices=[("", "–"), ("true", "true"), ("false", "false")],
        coerce=lambda text: text == "true",
        empty_value=None,
        initial="" if initial is None else str(initial).lower(),
        **common,
    )
