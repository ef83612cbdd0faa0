"""One row of every kind in a workspace, all with the same id, whatever models there are."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import models

from agents.models import AgentDefinition, AgentInstance
from workflows.clock import database_now

OURS = ("workflows", "approvals", "agents")
#: Every row's id, so that it names one of whatever kind an address means.
FOREIGN = UUID("0190f000-0000-7000-8000-00000000feed")
#: In every text of these rows.
SECRET = "Secret"
#: The installation's, not a workspace's.
_SHARED = {"AgentDefinition"}
#: What is filled in although it may be empty: where a row belongs.
_PLACES = {"workspace", "project", "workflow_execution", "step_execution", "approval", "version"}


def models_with_ids() -> list[type[models.Model]]:
    """Return the models whose rows are a workspace's and have ids that can stand in an address."""
    return [
        model
        for label in OURS
        for model in apps.get_app_config(label).get_models()
        if isinstance(model._meta.pk, models.UUIDField) and model.__name__ not in _SHARED
    ]


def fill_everything(user: Any, other: Any) -> dict[type[models.Model], models.Model]:
    """Make one row of each kind in the workspace ``secret``, whose admin is ``user``."""
    filling = Filling(
        user,
        AgentDefinition.objects.create(name="Planner", slug="planner", agent_type="demo"),
        Workspace={"slug": "secret"},
        Project={"slug": "secret"},
        Membership={"role": "admin"},
        ApprovalQuestion={"answer": ""},
        ApprovalDecision={"user": user},
        Delegation={"delegate": other},
    )
    for model in models_with_ids():
        filling.row_of(model)
    return filling.rows


class Filling:
    """Makes the rows; ``given`` are those that exist already, and columns by model's name."""

    def __init__(self, *rows: models.Model, **given: dict[str, Any]) -> None:
        self.rows: dict[type[models.Model], models.Model] = {type(row): row for row in rows}
        self._given = given
        self._now = database_now()

    def row_of(self, model: type[models.Model]) -> models.Model:
        """Return the row of ``model``, which is made, with all that it refers to, if need be."""
        if model not in self.rows:
            columns = dict(self._columns(model)) | self._given.get(model.__name__, {})
            if model.__name__ == "AgentHandoff":
                columns["to_agent"] = self.another(AgentInstance, slug="other")
            self.rows[model] = model._default_manager.create(**columns)
        return self.rows[model]

    def another(self, model: type[models.Model], **columns: Any) -> models.Model:
        """Make a second row of ``model``, with an id of its own."""
        key = model._meta.pk.name
        return model._default_manager.create(
            **{k: v for k, v in self._columns(model) if k != key} | columns
        )

    def _columns(self, model: type[models.Model]) -> Iterator[tuple[str, Any]]:
        given = self._given.get(model.__name__, {})
        for field in model._meta.concrete_fields:
            if field.name in given:
                continue
            if field.primary_key and isinstance(field, models.UUIDField):
                yield field.name, FOREIGN
            elif field.is_relation and (not field.null or field.name in _PLACES):
                yield field.name, self.row_of(field.related_model)
            elif not (field.is_relation or field.null or field.has_default() or field.primary_key):
                yield field.name, self._value(field)

    def _value(self, field: Any) -> Any:
        if field.choices:
            return field.choices[0][0]
        if isinstance(field, models.DateTimeField):
            return self._now + timedelta(hours=field.name.startswith(("ends", "expires")))
        if isinstance(field, models.UUIDField):
            return FOREIGN
        if isinstance(field, models.CharField | models.TextField):
            return f"https://{SECRET}.example/" if "url" in field.name else SECRET
        return {} if isinstance(field, models.JSONField) else 1
