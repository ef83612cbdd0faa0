import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.models import ApprovalStatus, WorkflowStepApproval
from mgx.demo import Demo, make_demo, why_not_here
from mgx.supervisor.lifeline import end_with_supervisor

_POLL_SECONDS = 0.1


class Command(BaseCommand):
    help = (
        "Makes the demo workspace with its users, agents and the example workflow, starts one "
        "run, and says where to go. Run again, it keeps what is there."
    )

    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000/", help="the web address")
        parser.add_argument(
            "--wait", type=float, default=0, metavar="SECONDS", help="wait for the gate to open"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        end_with_supervisor()
        if reason := why_not_here():
            raise CommandError(f"The demo is for trying MGX out on one machine. {reason}.")
        path = settings.MGX_VAR / "demo.json"
        url = options["url"].replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        demo = make_demo(path, url)
        gate = self._find_gate(demo, options["wait"])
        self.stdout.write(_describe(demo, gate, url))
        self.stdout.write(f"Passwords and API tokens: {path}\n")

    def _find_gate(self, demo: Demo, seconds: float) -> WorkflowStepApproval | None:
        """Return the request that the demo's run waits for, once it does."""
        deadline = time.monotonic() + seconds
        pending = WorkflowStepApproval.objects.filter(
            workflow_execution=demo.execution, status=ApprovalStatus.PENDING
        )
        while (gate := pending.first()) is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return gate


def _describe(demo: Demo, gate: WorkflowStepApproval | None, url: str) -> str:
    lines = ["", f"MGX is at {url}", "", "Sign in as       with the password     who is"]
    for role, user in demo.credentials.items():
        lines.append(f"  {user['username']:<14} {user['password']:<21} {role}")
    if gate is None:
        lines += ["", f"The run: {url}executions/{demo.execution.pk}/"]
    else:
        who = ", ".join(gate.required_approvers)
        lines += ["", f"Waiting for {who}: {gate.title}", f"  {url}approvals/{gate.pk}/"]
    return "\n".join([*lines, ""])
