"""How rows are shown in the admin: links, statuses, JSON, times."""

import json
from collections.abc import Iterable
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from workflows.templatetags.mgx import status_badge
from workflows.wording import say_duration

#: Characters of a value that a page shows; the API has all of it.
MAX_SHOWN = 20_000


def pretty_json(value: Any, indent: int | None = 2) -> str:
    """Return a value as JSON for people to read and edit, in its own order."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def json_block(value: Any) -> SafeString | str:
    """Return a value as a block of JSON, its length bounded; a dash for nothing."""
    if value is None:
        return "–"
    text = pretty_json(value)
    if len(text) > MAX_SHOWN:
        text = f"{text[:MAX_SHOWN]}\n… {len(text) - MAX_SHOWN:,} more characters"
    return format_html('<pre class="mono" tabindex="0">{}</pre>', text)


def link_to(row: Model | None, text: str = "") -> SafeString | str:
    """Return a link to the admin's page of a row; a dash where there is none."""
    if row is None:
        return "–"
    return link_to_id(type(row), row.pk, text or str(row))


def link_to_id(model: type[Model], pk: Any, text: str) -> SafeString | str:
    """Return a link to the admin's page of a row that is known by its id alone."""
    if pk is None:
        return "–"
    opts = model._meta
    return format_html(
        '<a href="{}">{}</a>',
        reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[pk]),
        text,
    )


def badge(status: str) -> SafeString:
    """Return a status as colour, icon and word."""
    return status_badge(status)


def duration_of(row: Any) -> str:
    """Return how long a run or a step has taken; a dash while it has not ended."""
    if row.started_at is None or row.completed_at is None:
        return "–"
    return say_duration((row.completed_at - row.started_at).total_seconds())


def related_lists(row: Model, site: AdminSite) -> SafeString | str:
    """Return links to the lists of what points at a row, for every model the admin shows."""
    links = []
    for relation in row._meta.related_objects:
        model = relation.related_model
        if not isinstance(model, type) or not site.is_registered(model):
            continue
        opts = model._meta
        address = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
        query = f"{relation.field.name}__{row._meta.pk.name}__exact"
        links.append((f"{address}?{query}={row.pk}", str(opts.verbose_name_plural)))
    return format_html_join(" · ", '<a href="{}">{}</a>', links) or "–"


def steps_table(steps: Iterable[Any]) -> SafeString | str:
    """Return the steps of a run as a table, each with a link to its page."""
    rows = format_html_join(
        "",
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        (
            (
                link_to(step, step.name),
                step.step_type,
                badge(step.status),
                step.attempts,
                duration_of(step),
                step.skip_reason or step.error_message[:200],
            )
            for step in steps
        ),
    )
    if not rows:
        return "None has moved yet."
    heads = ("Step", "Type", "Status", "Attempts", "Took", "Why")
    head = format_html_join("", '<th scope="col">{}</th>', ((word,) for word in heads))
    return format_html(
        '<div class="table-frame"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        head,
        rows,
    )
