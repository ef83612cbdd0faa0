"""The addresses of the approver's pages."""

from django.urls import path

from approvals.views import conversation, history, inbox, link, notifications, request, standing

urlpatterns = [
    path("", inbox.inbox, name="home"),
    path("approvals/", inbox.inbox, name="inbox"),
    path("approvals/review/", inbox.review, name="review"),
    path("approvals/history/", history.history, name="history"),
    path("approvals/history.csv", history.export_history, {"kind": "csv"}, name="history_csv"),
    path("approvals/history.json", history.export_history, {"kind": "json"}, name="history_json"),
    path("approvals/link/<str:token>/", link.approval_link, name="approval_link"),
    path("approvals/standing/", standing.standing, name="standing"),
    path("approvals/standing/absences/", standing.add_absence, name="add_absence"),
    path(
        "approvals/standing/absences/<uuid:delegation_id>/end/",
        standing.end_absence,
        name="end_absence",
    ),
    path("approvals/standing/grants/", standing.add_grant, name="add_grant"),
    path("approvals/standing/grants/<uuid:grant_id>/end/", standing.end_grant, name="end_grant"),
    path("approvals/<uuid:approval_id>/", request.request_page, name="request"),
    path("approvals/<uuid:approval_id>/comments/", conversation.add_comment, name="add_comment"),
    path("approvals/<uuid:approval_id>/questions/", conversation.add_question, name="ask"),
    path(
        "approvals/<uuid:approval_id>/questions/<uuid:question_id>/answer/",
        conversation.add_answer,
        name="answer_question",
    ),
    path("approvals/<uuid:approval_id>/retraction/", conversation.take_back, name="take_back"),
    path("approvals/<uuid:approval_id>/delegations/", conversation.pass_on, name="pass_on"),
    path("approvals/<uuid:approval_id>/receipt/", conversation.show_receipt, name="receipt"),
    path(
        "approvals/<uuid:approval_id>/files/reviews/",
        conversation.add_file_review,
        name="review_file",
    ),
    path(
        "approvals/<uuid:approval_id>/files/comments/",
        conversation.add_line_comment,
        name="comment_line",
    ),
    path(
        "account/notifications/",
        notifications.notification_preferences,
        name="notification_preferences",
    ),
]
