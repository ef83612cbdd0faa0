"""Form fields for what Django's own read too kindly: JSON, lists of names, and long texts."""

from typing import Any, Literal

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator

from workflows.admin.display import pretty_json
from workflows.core.canonical import dumps_canonical, loads_strict
from workflows.core.errors import CanonicalError
from workflows.models import User

_SHAPES: dict[str, tuple[type, str]] = {
    "object": (dict, "an object: { … }"),
    "list": (list, "a list: [ … ]"),
}


class _Typed(str):
    """What a person typed, as opposed to a value that happens to be text."""


class StrictJSONField(forms.CharField):
    """JSON as the API reads it: no key twice, no NaN, at most 32 deep, exact integers.

    ``shape``: the only kind of value accepted. An empty field is ``empty``.
    """

    def __init__(
        self,
        *,
        shape: Literal["object", "list", "any"] = "object",
        rows: int = 3,
        **kwargs: Any,
    ) -> None:
        self.shape = shape
        kwargs.setdefault("required", False)
        attrs = {"rows": rows, "class": "vLargeTextField mono", "spellcheck": "false"}
        super().__init__(widget=forms.Textarea(attrs=attrs), strip=True, **kwargs)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return {"object": {}, "list": []}.get(self.shape)
        try:
            read = loads_strict(text)
        except CanonicalError as error:
            message = error.message[0].upper() + error.message[1:]
            where = f" (at {error.path})" if error.path else ""
            raise ValidationError(f"{message}{where}.", code=error.reason) from None
        if self.shape in _SHAPES and not isinstance(read, _SHAPES[self.shape][0]):
            raise ValidationError(f"This must be {_SHAPES[self.shape][1]}.", code="wrong_type")
        return read

    def validate(self, value: Any) -> None:
        if self.required and value is None:
            raise ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        """The text has been checked while it was read; the value is no text."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        return None if data is None else _Typed(data)

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, _Typed):
            return str(value)
        is_empty = value is None or (self.shape in _SHAPES and value in ({}, []))
        return "" if is_empty else pretty_json(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return dumps_canonical(self.to_python(data)) != dumps_canonical(initial)
        except (ValidationError, CanonicalError):
            return True


class VerbatimField(forms.CharField):
    """A text as it is, with the white space around it; its lines end as they do outside of forms,
    from which browsers send CRLF."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, strip=False)

    def to_python(self, value: Any) -> str:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class NamesField(forms.CharField):
    """A list of names: separated by commas, or as a JSON list where a name holds a comma."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        super().__init__(widget=forms.TextInput(attrs={"class": "vTextField"}), **kwargs)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        ProhibitNullCharactersValidator()(text)
        if not text.startswith("["):
            return [name for part in text.split(",") if (name := part.strip())]
        try:
            names = loads_strict(text)
        except CanonicalError as error:
            raise ValidationError(f"This JSON list is {error.message}.", code="not_json") from None
        if not all(isinstance(name, str) for name in names):
            raise ValidationError("Each entry of the list must be text.", code="wrong_type")
        return names

    def validate(self, value: Any) -> None:
        if self.required and not value:
            raise ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        """The text has been checked while it was read; the value is a list."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        return None if data is None else _Typed(data)

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, _Typed):
            return str(value)
        names = value or []
        is_plain = all(
            isinstance(name, str) and name == name.strip() and name and "," not in name
            for name in names
        ) and not (names and names[0].startswith("["))
        return ", ".join(names) if is_plain else pretty_json(names, indent=None)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != (initial or []))
        except ValidationError:
            return True


class UsernameField(forms.CharField):
    """A person, by exact username: a list to choose from would show those of all workspaces."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(widget=forms.TextInput(attrs={"class": "vTextField"}), **kwargs)

    def clean(self, value: Any) -> Any:
        name = super().clean(value)
        user = User.objects.filter(username=name).first()
        if user is None:
            raise ValidationError(f"There is no user “{name}”.", code="unknown_user")
        return user
