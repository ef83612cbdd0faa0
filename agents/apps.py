from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Agents: what they can do, who runs which step, and what they remember."""

    name = "agents"
    verbose_name = "Agents"
