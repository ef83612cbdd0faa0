"""Forms whose rows a service writes, and the admin around them."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.http import HttpRequest

from workflows.admin.scope import ScopedAdmin, say_refusal, signed_in
from workflows.errors import InvalidInput, MgxError
from workflows.models import User

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]
else:
    ModelForm = forms.ModelForm


class ServiceForm(ModelForm):
    """The service writes the row as the form's last check, so that the form shows its refusals."""

    #: Who calls the service, set by the admin.
    user: User

    def call_service(self) -> Any:
        """Return what the service made of ``cleaned_data``. Raises MgxError."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own, after all fields are checked
        if self.errors:
            return
        try:
            self._written = self.call_service()
        except InvalidInput as error:
            for problem in error.problems:
                field = problem.path.removeprefix("/").partition("/")[0]
                self.add_error(field if field in self.fields else None, problem.message)
        except MgxError as error:
            self.add_error(None, say_refusal(error))

    def save(self, commit: bool = True) -> Any:
        """Return what the service wrote."""
        return self._written

    def save_m2m(self) -> None:
        """There is nothing else to save."""


class ServiceAdmin(ScopedAdmin):
    """Rows that a ``ServiceForm`` has written."""

    superuser_edits = False

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.user = signed_in(request)
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """Write nothing: the form had the service do it."""
