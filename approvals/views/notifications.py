"""What a person wants to be told, and how."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from approvals.models import Channel, NotificationKind
from approvals.notifications.preferences import choices_of, choose
from workflows.pages import PageRequest, answer, page


@require_http_methods(["GET", "HEAD", "POST"])
@page
def notification_preferences(request: PageRequest) -> HttpResponse:
    """Show the reader's choices, and keep new ones."""
    if request.method == "POST":
        chosen = {
            kind: {channel: f"{kind}-{channel}" in request.POST for channel in Channel}
            for kind in NotificationKind
        }
        choose(request.user, chosen)
        messages.success(request, "Your choice is kept.")
        return redirect("notification_preferences")
    choices = choices_of(request.user)
    rows = [
        (kind, [(f"{kind}-{channel}", channel, is_on) for channel, is_on in channels.items()])
        for kind, channels in choices.items()
    ]
    context = {"place": "", "rows": rows, "channels": list(Channel)}
    return answer(request, "approvals/notifications.html", context)
