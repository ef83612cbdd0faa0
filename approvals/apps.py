from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Requests for a human decision, and the decisions."""

    name = "approvals"
    verbose_name = "Approvals"
