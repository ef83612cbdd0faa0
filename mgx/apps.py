from django.apps import AppConfig


class MgxConfig(AppConfig):
    """The project: settings, addresses, commands and system checks."""

    name = "mgx"
    verbose_name = "MGX"

    def ready(self) -> None:
        from mgx import checks  # noqa: F401  (registers the system checks)
