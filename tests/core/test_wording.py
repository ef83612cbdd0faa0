"""The words for statuses, durations, distances and moments."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from workflows.core.states import ExecutionStatus, StepStatus
from workflows.icons import ICONS
from workflows.wording import (
    RISK_LOOKS,
    STATUS_LOOKS,
    approval_look,
    say_distance,
    say_duration,
    say_moment,
    say_short_moment,
    say_span,
    say_starter,
    status_look,
)

NOW = datetime(2025, 10, 14, 15, 0, tzinfo=UTC)


def test_every_status_of_the_engine_has_its_own_look():
    assert {*ExecutionStatus, *StepStatus} <= set(STATUS_LOOKS)


def test_every_look_has_an_icon_that_is_drawn():
    assert {look.icon for look in [*STATUS_LOOKS.values(), *RISK_LOOKS.values()]} <= set(ICONS)


def test_an_open_request_waits_for_approval_while_an_open_step_is_pending():
    assert approval_look("pending").word == "Waiting for approval"
    assert status_look("pending").word == "Pending"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.42, "0.4 s"),
        (41, "41 s"),
        (192, "3 min 12 s"),
        (3_900, "1 h 05 min"),
        (183_600, "2 d 3 h"),
        (-5, "0 s"),
        (59.7, "1 min 00 s"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds, words):
    assert say_duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1_800, "30 minutes"),
        (3_600, "1 hour"),
        (5_400, "1 hour 30 minutes"),
        (86_400, "1 day"),
        (0, "0 seconds"),
        (90_061, "1 day 1 hour"),
    ],
)
def test_a_configured_span_is_spelt_out(seconds, words):
    assert say_span(seconds) == words


@pytest.mark.parametrize(
    ("door", "name", "words"),
    [
        ("page", "Mei Tan", "Mei Tan"),
        ("api", "Mei Tan", "Mei Tan"),
        ("schedule", "Mei Tan", "schedule, for Mei Tan"),
        ("schedule", "", "schedule"),
        ("workflow", "Mei Tan", "another run, for Mei Tan"),
        ("workflow", "", "another run"),
        ("system", "", "MGX"),
        ("page", "", "somebody through the pages"),
        ("api", "", "somebody through the API"),
        ("admin", "", "somebody through the admin"),
    ],
)
def test_who_or_what_started_a_run_is_told(door, name, words):
    assert say_starter(door, name) == words


@pytest.mark.parametrize(
    ("away", "words"),
    [
        (timedelta(minutes=42), "in 42 min"),
        (timedelta(minutes=-18), "18 min ago"),
        (timedelta(seconds=-3), "just now"),
        (timedelta(seconds=20), "in a moment"),
        (timedelta(hours=-3), "3 h ago"),
        (timedelta(minutes=59, seconds=50), "in 1 h"),
        (timedelta(days=1), "in 1 day"),
        (timedelta(days=-12), "12 days ago"),
    ],
)
def test_a_distance_says_how_far_and_which_way(away, words):
    assert say_distance(NOW + away, NOW) == words


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (datetime(2025, 10, 14, 15, 42, tzinfo=UTC), "today at 15:42"),
        (datetime(2025, 10, 15, 9, 0, tzinfo=UTC), "tomorrow at 09:00"),
        (datetime(2025, 10, 13, 9, 0, tzinfo=UTC), "yesterday at 09:00"),
        (datetime(2025, 10, 21, 9, 0, tzinfo=UTC), "Tue 21 Oct at 09:00"),
        (datetime(2024, 10, 2, 9, 0, tzinfo=UTC), "2 Oct 2024 at 09:00"),
    ],
)
def test_a_moment_is_told_by_its_day_and_clock(moment, words):
    assert say_moment(moment, NOW) == words


def test_the_day_is_that_of_the_readers_zone():
    east = timezone(timedelta(hours=10))
    assert say_short_moment(NOW.astimezone(east), NOW) == "today, 01:00"
