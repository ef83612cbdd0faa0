"""What holds for every page: the strict policy, the times, the errors."""

import re

import pytest
from django.utils import timezone

from tests.pages import html

pytestmark = pytest.mark.django_db

NO_INLINE = re.compile(r"""<style|\sstyle=|<script(?![^>]*\bsrc=)|\son\w+=["']|javascript:""")


@pytest.fixture
def addresses(ask):
    approval = ask()
    run = approval.workflow_execution
    return [
        "/",
        "/approvals/?tab=others",
        "/approvals/history/",
        f"/approvals/{approval.pk}/",
        f"/approvals/review/?id={approval.pk}&outcome=approved",
        "/executions/",
        f"/executions/{run.pk}/?step=generate_plan",
        f"/executions/{run.pk}/cancel/",
        "/workflows/",
        f"/workflows/{run.workflow_id}/",
    ]


def test_nothing_needs_what_the_policy_forbids(approver, addresses):
    for address in addresses:
        answer = approver.get(address)
        assert answer.status_code == 200, address
        assert not NO_INLINE.search(html(answer)), address
        assert "default-src 'self'" in answer["Content-Security-Policy"]


def test_every_page_has_a_title_one_heading_and_a_way_past_the_navigation(approver, addresses):
    for address in addresses:
        page = html(approver.get(address))
        assert len(re.findall(r"<h1[ >]", page)) == 1, address
        assert re.search(r"<title>[^<]{8,}</title>", page), address
        assert 'href="#main"' in page


def test_ids_are_unique(approver, addresses):
    for address in addresses:
        ids = re.findall(r'\sid="([^"]+)"', html(approver.get(address)))
        assert len(ids) == len(set(ids)), (address, [i for i in ids if ids.count(i) > 1])


def test_pages_are_not_kept_by_anybody_else(approver, addresses):
    for address in addresses:
        assert approver.get(address)["Cache-Control"] == "private, no-cache"


def test_times_stand_in_the_readers_zone_once_it_is_known(approver, ask):
    approval = ask()
    asked = approval.requested_at
    page = html(approver.get(f"/approvals/{approval.pk}/"))
    assert f"{asked:%H:%M} UTC</time>" in page
    approver.cookies["mgx_zone"] = "Asia/Kolkata"
    page = html(approver.get(f"/approvals/{approval.pk}/"))
    local = timezone.localtime(asked, timezone.get_fixed_timezone(330))
    assert f"{local:%H:%M}</time>" in page


@pytest.mark.parametrize("zone", ["../../etc/passwd", "Mars/Olympus", "x" * 1_000, "Europe", ""])
def test_a_zone_that_is_none_means_utc(approver, ask, zone):
    ask()
    approver.cookies["mgx_zone"] = zone
    assert approver.get("/approvals/").status_code == 200


def test_what_is_not_there_says_so_in_words(approver, workspace):
    answer = approver.get("/executions/00000000-0000-0000-0000-000000000000/")
    assert answer.status_code == 404
    assert "There is nothing here" in html(answer)
    assert not NO_INLINE.search(html(answer))
