"""What each person chose to be told, and how; without a choice they are told everything."""

from collections.abc import Iterable, Mapping

from django.db import transaction

from approvals.models import Channel, NotificationKind, NotificationPreference
from workflows.models import User

Choices = dict[NotificationKind, dict[Channel, bool]]

_USUAL = True


def choices_of(user: User) -> Choices:
    """Return for each kind of notification and each channel whether ``user`` wants it."""
    rows = NotificationPreference.objects.filter(user=user)
    chosen = {(row.kind, row.channel): row.is_on for row in rows}
    return {
        kind: {channel: chosen.get((kind, channel), _USUAL) for channel in Channel}
        for kind in NotificationKind
    }


def choose(user: User, choices: Mapping[NotificationKind, Mapping[Channel, bool]]) -> None:
    """Keep what ``user`` wants from now on; what is not named stays as it is."""
    with transaction.atomic():
        for kind, channels in choices.items():
            for channel, is_on in channels.items():
                NotificationPreference.objects.update_or_create(
                    user=user, kind=kind, channel=channel, defaults={"is_on": is_on}
                )


def refused_by(user_ids: Iterable[int], channel: Channel) -> set[tuple[int, str]]:
    """Return (person, kind) of what these people do not want to be told through ``channel``."""
    rows = NotificationPreference.objects.filter(
        user__in=list(user_ids), channel=channel, is_on=False
    )
    return set(rows.values_list("user_id", "kind"))
