"""The addresses of the approver's pages."""

from django.urls import path

from approvals import views

urlpatterns = [
    path("", views.inbox, name="home"),
    path("approvals/", views.inbox, name="inbox"),
    path("approvals/review/", views.review, name="review"),
    path("approvals/<uuid:approval_id>/", views.request_page, name="request"),
    path("approvals/<uuid:approval_id>/comments/", views.add_comment, name="add_comment"),
]
