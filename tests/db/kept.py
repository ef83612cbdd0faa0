"""What the database holds, to tell that a refusal has left it as it was."""

from typing import Any

from django.apps import apps


def everything_kept() -> dict[Any, list[str]]:
    """Return every row of this project's own tables, by model."""
    models = [
        model
        for app in ("workflows", "approvals", "agents")
        for model in apps.get_app_config(app).get_models()
    ]
    return {model: sorted(map(repr, model._default_manager.values_list())) for model in models}
