"""Where the admin shows what, and what its forms post."""

from django.urls import reverse


def list_of(model):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(row, verb="change"):
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{verb}", args=[row.pk])


def add_page_of(model):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


def posted_by(page):
    """Return what a browser would post from an unchanged page: its forms' values."""
    context = page.context
    form = context["adminform"].form
    data = _values(form, list(form.fields))
    for inline in context["inline_admin_formsets"]:
        formset = inline.formset
        data |= _values(formset.management_form, list(formset.management_form.fields))
        for part in formset.forms:
            data |= _values(part, [name for name in part.fields if name not in ("id", "workflow")])
    return data


def _values(form, names):
    data = {}
    for name in names:
        value = form[name].value()
        if value is not None and value is not False:
            data[form.add_prefix(name)] = str(value)
    return data


def messages_on(page):
    return [str(message) for message in page.context["messages"]]
