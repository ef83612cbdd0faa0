"""The addresses of the pages of runs and workflows."""

from django.urls import path

from workflows import views

urlpatterns = [
    path("executions/", views.executions, name="executions"),
    path("executions/<uuid:execution_id>/", views.execution, name="execution"),
    path("executions/<uuid:execution_id>/cancel/", views.cancel, name="cancel_execution"),
    path("workflows/", views.workflows, name="workflows"),
    path("workflows/<uuid:workflow_id>/", views.workflow, name="workflow"),
    path("workflows/<uuid:workflow_id>/start/", views.start, name="start_execution"),
    path("workflows/<uuid:workflow_id>/publish/", views.publish_draft, name="publish_workflow"),
]
