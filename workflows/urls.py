"""The addresses of the pages of runs and workflows."""

from django.urls import path

from workflows import views
from workflows.pages import verbs

urlpatterns = [
    path("executions/", views.executions, name="executions"),
    path("executions/<uuid:execution_id>/", views.execution, name="execution"),
    path("executions/<uuid:execution_id>/cancel/", views.cancel, name="cancel_execution"),
    path("executions/<uuid:execution_id>/pause/", verbs.pause, name="pause_execution"),
    path("executions/<uuid:execution_id>/resume/", verbs.resume, name="resume_execution"),
    path("executions/<uuid:execution_id>/retry/", verbs.retry, name="retry_execution"),
    path("executions/<uuid:execution_id>/rerun/", verbs.rerun, name="rerun_execution"),
    path("workflows/", views.workflows, name="workflows"),
    path("workflows/<uuid:workflow_id>/", views.workflow, name="workflow"),
    path("workflows/<uuid:workflow_id>/start/", views.start, name="start_execution"),
    path("workflows/<uuid:workflow_id>/publish/", views.publish_draft, name="publish_workflow"),
]
