from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Requests for a human decision, and the decisions."""

    name = "approvals"
    verbose_name = "Approvals"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in

        from approvals.sign_in import remember_sign_in

        user_logged_in.connect(remember_sign_in, dispatch_uid="approvals.remember_sign_in")
