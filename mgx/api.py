"""Every endpoint of the API, under ``/api/v1/``."""

from typing import Any

from csp.decorators import csp_update
from django.http import Http404
from django.urls import URLPattern, path, re_path
from django.utils.decorators import method_decorator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from agents import api as agents
from agents import controller_api as controller
from agents import heartbeat_api as heartbeats
from agents import memory_api as memory
from agents import messages_api as messages
from agents import spending_api as spending
from agents import tool_servers_api as tools
from approvals.api import decisions, files, notifications, questions, standing
from approvals.api import views as approvals
from workflows.api import (
    accounts,
    differences,
    events,
    executions,
    metrics,
    schedules,
    steps,
    tenants,
    timeline,
    verbs,
    webhooks,
    why,
    workflows,
)
from workflows.api.base import ApiView


class Schema(ApiView, SpectacularJSONAPIView):
    """The OpenAPI document of this API."""

    permission_classes = []
    authentication_classes = []


@method_decorator(csp_update({"style-src": ["'self'", "'unsafe-inline'"]}), name="dispatch")
class Docs(ApiView, SpectacularSwaggerSplitView):
    """The API to read and to try; Swagger UI writes styles into its page, so these are allowed."""

    permission_classes = []
    authentication_classes = []
    url_name = "api-schema"


class UnknownAddress(ApiView):
    """Whatever is not listed here. Addresses end with a slash; nothing is redirected."""

    permission_classes = []
    authentication_classes = []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404

    @extend_schema(exclude=True)
    def get(self, request: Request, rest: str) -> Response:
        raise Http404


urlpatterns: list[URLPattern] = [
    path("me/", accounts.Me.as_view()),
    path("me/notifications/", notifications.Notifications.as_view()),
    path("tokens/", accounts.Tokens.as_view()),
    path("tokens/<uuid:id>/", accounts.Token.as_view()),
    path("workspaces/", tenants.Workspaces.as_view()),
    path("workspaces/<slug:slug>/", tenants.OneWorkspace.as_view()),
    path("workspaces/<slug:slug>/members/", tenants.Members.as_view()),
    path("workspaces/<slug:slug>/signing-secret/", webhooks.WorkspaceSecret.as_view()),
    path("projects/", tenants.Projects.as_view()),
    path("projects/<uuid:id>/", tenants.OneProject.as_view()),
    path("workflows/", workflows.Workflows.as_view()),
    path("workflows/validate/", workflows.Validation.as_view()),
    path("workflows/import/", workflows.Import.as_view()),
    path("workflows/schema.json", workflows.DefinitionSchema.as_view()),
    path("workflows/<uuid:id>/", workflows.OneWorkflow.as_view()),
    path("workflows/<uuid:id>/publish/", workflows.Publication.as_view()),
    path("workflows/<uuid:id>/versions/", workflows.Versions.as_view()),
    path("workflows/<uuid:id>/differences/", differences.Differences.as_view()),
    path("workflows/<uuid:id>/export/", workflows.Export.as_view()),
    path("workflows/<uuid:id>/metrics/", metrics.Metrics.as_view()),
    path("workflows/<uuid:id>/graph.svg", workflows.WorkflowGraph.as_view()),
    path("executions/", executions.Executions.as_view()),
    path("executions/batch/", executions.Batch.as_view()),
    path("executions/<uuid:id>/", executions.OneExecution.as_view()),
    path("executions/<uuid:id>/cancel/", verbs.Cancellation.as_view()),
    path("executions/<uuid:id>/pause/", verbs.Pause.as_view()),
    path("executions/<uuid:id>/resume/", verbs.Resumption.as_view()),
    path("executions/<uuid:id>/retry/", verbs.Retry.as_view()),
    path("executions/<uuid:id>/rerun/", verbs.Rerun.as_view()),
    path("executions/<uuid:id>/signals/", verbs.Signals.as_view()),
    path("executions/<uuid:id>/steps/", steps.Steps.as_view()),
    path("executions/<uuid:id>/events/", events.ExecutionEvents.as_view()),
    path("executions/<uuid:id>/why/", why.Why.as_view()),
    path("executions/<uuid:id>/timeline/", timeline.Timeline.as_view()),
    path("executions/<uuid:id>/graph.svg", executions.ExecutionGraph.as_view()),
    path("schedules/", schedules.Schedules.as_view()),
    path("schedules/<uuid:id>/", schedules.OneSchedule.as_view()),
    path("approvals/", approvals.Approvals.as_view()),
    path("approvals/decisions/", decisions.BatchDecisions.as_view()),
    path("approvals/<uuid:id>/", approvals.OneApproval.as_view()),
    path("approvals/<uuid:id>/decisions/", decisions.Decisions.as_view()),
    path("approvals/<uuid:id>/approve/", decisions.Approve.as_view()),
    path("approvals/<uuid:id>/reject/", decisions.Reject.as_view()),
    path("approvals/<uuid:id>/request-changes/", decisions.RequestChanges.as_view()),
    path("approvals/<uuid:id>/retract/", decisions.Retraction.as_view()),
    path("approvals/<uuid:id>/receipt/", decisions.Receipt.as_view()),
    path("approvals/<uuid:id>/cancel/", approvals.Cancellation.as_view()),
    path("approvals/<uuid:id>/wait/", approvals.Wait.as_view()),
    path("approvals/<uuid:id>/comments/", approvals.Comments.as_view()),
    path("approvals/<uuid:id>/files/", files.Files.as_view()),
    path("approvals/<uuid:id>/files/reviews/", files.FileReviews.as_view()),
    path("approvals/<uuid:id>/files/comments/", files.FileComments.as_view()),
    path("approvals/<uuid:id>/delegate/", standing.Handing.as_view()),
    path("approvals/<uuid:id>/questions/", questions.Questions.as_view()),
    path("questions/<uuid:id>/answer/", questions.Answer.as_view()),
    path("delegations/", standing.Delegations.as_view()),
    path("delegations/<uuid:id>/", standing.OneDelegation.as_view()),
    path("delegations/<uuid:id>/revoke/", standing.DelegationRevocation.as_view()),
    path("grants/", standing.Grants.as_view()),
    path("grants/<uuid:id>/", standing.OneGrant.as_view()),
    path("grants/<uuid:id>/revoke/", standing.GrantRevocation.as_view()),
    path("receipts/check/", decisions.ReceiptCheck.as_view()),
    path("agent-definitions/", agents.AgentDefinitions.as_view()),
    path("agent-definitions/<uuid:id>/", agents.OneAgentDefinition.as_view()),
    path("agents/", agents.Agents.as_view()),
    path("agents/budget/", spending.AgentBudget.as_view()),
    path("agents/<uuid:id>/", agents.OneAgent.as_view()),
    path("agents/<uuid:id>/activate/", controller.Activation.as_view()),
    path("agents/<uuid:id>/deactivate/", controller.Deactivation.as_view()),
    path("agents/<uuid:id>/shutdown/", controller.Shutdown.as_view()),
    path("agents/<uuid:id>/heartbeat/", heartbeats.Heartbeat.as_view()),
    path("agents/<uuid:id>/handoff/", controller.Handing.as_view()),
    path("agents/<uuid:id>/metrics/", controller.AgentMetrics.as_view()),
    path("agents/<uuid:id>/messages/", messages.AgentMessages.as_view()),
    path("agents/<uuid:id>/memory/", memory.AgentMemories.as_view()),
    path("agents/<uuid:id>/memory/stats/", memory.AgentMemoryStats.as_view()),
    path("agents/<uuid:id>/memory/search/", memory.AgentMemorySearch.as_view()),
    path("agents/<uuid:id>/memory/history/", memory.AgentMemoryHistory.as_view()),
    path("agents/<uuid:id>/memory/export/", memory.AgentMemoryExport.as_view()),
    path("agents/<uuid:id>/memory/thread/", memory.AgentMemoryThread.as_view()),
    path("tool-servers/", tools.ToolServers.as_view()),
    path("tool-servers/<uuid:id>/", tools.OneToolServer.as_view()),
    path("tool-servers/<uuid:id>/read/", tools.ToolReading.as_view()),
    path("events/", events.Events.as_view()),
    path("webhooks/", webhooks.Webhooks.as_view()),
    path("webhooks/<uuid:id>/", webhooks.OneWebhook.as_view()),
    path("webhooks/<uuid:id>/rotate/", webhooks.SecretRotation.as_view()),
    path("webhooks/<uuid:id>/test/", webhooks.WebhookTest.as_view()),
    path("webhooks/<uuid:id>/deliveries/", webhooks.Deliveries.as_view()),
    path("webhooks/<uuid:id>/deliveries/replay/", webhooks.Replay.as_view()),
    path("schema/", Schema.as_view(), name="api-schema"),
    path("docs/", Docs.as_view(), name="api-docs"),
    re_path(r"^(?P<rest>.*)$", UnknownAddress.as_view()),
]
