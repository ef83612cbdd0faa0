from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    """Tenants, workflows, executions, their events, and the engine that runs them."""

    name = "workflows"
    verbose_name = "Workflows"

    def ready(self) -> None:
        from django_q.signals import post_spawn

        from workflows.engine.spawn import start_driver
        from workflows.tasks import autodiscover_tasks

        autodiscover_tasks()
        post_spawn.connect(start_driver, dispatch_uid="workflows.engine.start_driver")
