"""What follows on a decision that a step asked for itself: it goes on, whatever the answer is."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals.pages.following import Following


class AskedByStep(Following):
    """What comes after the request of a step that stopped to ask."""

    def starts(self) -> SafeString:
        return format_html("<code>{}</code> goes on", self.gate)

    def _on_last_approval(self) -> SafeString:
        return format_html(
            "<code>{}</code> goes on at once, with exactly the content below.", self.gate
        )

    def _on_changes(self) -> SafeString:
        return format_html(
            "Nothing is done. Your comment goes to <code>{}</code>, which may ask anew.", self.gate
        )

    def _on_rejection(self) -> SafeString:
        return format_html(
            "Nothing is done. <code>{}</code> is told so, and goes on without it.", self.gate
        )

    def _goes_on(self, how: str) -> SafeString:
        return format_html("Nothing is done. <code>{}</code> goes on {}.", self.gate, how)
