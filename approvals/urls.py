"""The addresses of the approver's pages."""

from django.urls import path

from approvals.views import inbox, request

urlpatterns = [
    path("", inbox.inbox, name="home"),
    path("approvals/", inbox.inbox, name="inbox"),
    path("approvals/review/", inbox.review, name="review"),
    path("approvals/<uuid:approval_id>/", request.request_page, name="request"),
    path("approvals/<uuid:approval_id>/comments/", request.add_comment, name="add_comment"),
]
