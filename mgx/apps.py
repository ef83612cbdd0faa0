from django.apps import AppConfig


class MgxConfig(AppConfig):
    """The project: settings, addresses, commands and system checks."""

    name = "mgx"
    verbose_name = "MGX"

    def ready(self) -> None:
        from django.apps import apps
        from django.db.models.signals import pre_migrate

        from mgx import checks  # noqa: F401  (registers the system checks)
        from mgx.downgrades import refuse_downgrade

        pre_migrate.connect(
            refuse_downgrade,
            sender=apps.get_app_config("workflows"),
            dispatch_uid="mgx.downgrades.refuse_downgrade",
        )
