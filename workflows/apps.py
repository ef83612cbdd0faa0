from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    """Tenants, workflows, executions, their events, and the engine that runs them."""

    name = "workflows"
    verbose_name = "Workflows"

    def ready(self) -> None:
        from django.apps import apps
        from django.db.models.signals import post_migrate
        from django_q.signals import post_spawn

        from workflows.engine.spawn import start_driver
        from workflows.housekeeping import call_daily
        from workflows.tasks import autodiscover_tasks

        autodiscover_tasks()
        post_spawn.connect(start_driver, dispatch_uid="workflows.engine.start_driver")
        post_migrate.connect(
            call_daily,
            sender=apps.get_app_config("django_q"),
            dispatch_uid="workflows.housekeeping.call_daily",
        )
