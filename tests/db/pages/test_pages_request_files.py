"""Files under review on the page of their request."""

import re
import time

import pytest

from approvals.models import FileReview, LineComment
from approvals.notifications.links import link_for, token_of
from approvals.services.files import comment_line, review_file
from tests.pages import html, text
from workflows.clock import database_now

pytestmark = pytest.mark.django_db

LINES = [f"line {number}" for number in range(1, 41)]
FILES = [
    {
        "path": "src/a.py",
        "before": "\n".join(LINES),
        "after": "\n".join([*LINES[:19], "line twenty", *LINES[20:]]),
    },
    {"path": "src/b.py", "after": "<script>alert(1)</script>\n"},
]


def url(approval):
    return f"/approvals/{approval.pk}/"


@pytest.fixture
def approval(ask):
    return ask(data={"files": FILES, "note": "Please."})


def said(approval, **more):
    return {"path": "src/a.py", "number": 1, "digest": approval.digest, "comment": "", **more}


class TestTheDiff:
    def test_what_goes_and_comes_with_the_words_marked(self, approver, approval):
        page = html(approver.get(url(approval)))
        assert "2 files under review" in page
        assert re.search(r'is-gone">.{0,400}Removed: .{0,80}line <mark>20</mark>', page)
        assert re.search(r'is-new">.{0,400}Added: .{0,80}line <mark>twenty</mark>', page)

    def test_a_change_far_into_a_long_line_is_marked(self, approver, ask):
        before, after = (f"{'y' * 2_500} {word} ask" for word in ("never", "always"))
        approval = ask(data={"files": [{"path": "a", "before": before, "after": after}]})
        page = html(approver.get(url(approval)))
        assert "<mark>never</mark> ask" in page
        assert "<mark>always</mark> ask" in page

    def test_what_stays_is_folded_but_for_what_is_near(self, approver, approval):
        page = html(approver.get(url(approval)))
        assert "16 unchanged lines" in page
        assert "17 unchanged lines" in page

    def test_they_can_stand_side_by_side(self, approver, approval):
        page = html(approver.get(f"{url(approval)}?view=side"))
        assert page.count('<div class="code-pair">') == 41
        assert "One below the other" in page

    def test_what_they_hold_is_inert(self, approver, approval):
        page = html(approver.get(url(approval)))
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page

    def test_they_stand_by_themselves_and_in_the_raw_json(self, approver, approval):
        page = html(approver.get(url(approval)))
        content = page.partition("The content, revision 1")[2].partition("Raw JSON")[0]
        assert "<dt>note</dt>" in content
        assert "src/a.py" not in content
        assert "src/a.py" in page.partition("Raw JSON")[2].partition("</pre>")[0]

    @pytest.mark.parametrize(
        ("before", "after", "shown"),
        [
            ("a\n", "a\u202eb\n", "a<mark>⟨U+202E⟩b</mark>"),
            ("a\n", "a\u200b\n", "a<mark>⟨U+200B⟩</mark>"),
            ("a\r\n", "a\n", "a<mark>⟨U+000D⟩</mark>"),
            ("a\n", "a", "The last line has no break any more."),
            ("a", "a\n", "The last line ends with a break now."),
        ],
    )
    def test_nothing_in_them_is_hidden(self, approver, ask, before, after, shown):
        approval = ask(data={"files": [{"path": "a", "before": before, "after": after}]})
        assert shown in html(approver.get(url(approval)))

    def test_huge_files_are_cut_and_take_no_time(self, approver, ask):
        before, after = "a\nb\n" * 60_000, "b\na\n" * 60_000
        files = [{"path": "huge", "before": before, "after": after}]
        approval = ask(data={"files": files})
        start = time.process_time()
        page = html(approver.get(url(approval)))
        assert time.process_time() - start < 5
        assert re.search(r"… \d+ more lines in the raw JSON", page)
        assert "Show the diff: " in page


class TestReviews:
    def test_one_is_recorded_and_leads_back_to_its_file(self, approver, approval, users):
        answer = approver.post(f"{url(approval)}files/reviews/", said(approval, outcome="approved"))
        assert answer["Location"] == f"{url(approval)}#file-1"
        review = FileReview.objects.get()
        assert (review.path, review.outcome) == ("src/a.py", "approved")
        assert "You reviewed 1 of 2" in text(approver.get(url(approval)))

    def test_what_is_missing_is_said_at_its_file_and_nothing_is_lost(self, approver, approval):
        address = f"{url(approval)}files/reviews/"
        answer = approver.post(address, said(approval, outcome="rejected", comment=" "))
        assert answer.status_code == 400
        page = html(answer)
        assert page.count("Write why you reject it.") == 1
        assert page.index('id="file-1-error"') < page.index('id="file-2"')
        stale = said(approval, outcome="rejected", comment="Kept words", digest="0")
        answer = approver.post(address, stale)
        assert answer.status_code == 409
        assert "Kept words</textarea>" in html(answer)

    def test_they_are_what_the_decision_proposes(self, approver, approval, users):
        review_file(
            approval.pk,
            path="src/b.py",
            outcome="request_changes",
            comment="Escape it.",
            user=users["approver"],
        )
        page = html(approver.get(url(approval)))
        assert re.search(r'value="request_changes" checked', page)
        assert "You requested changes to a file, and one sends the whole back." in page
        assert "src/b.py: Escape it.</textarea>" in page

    def test_a_decision_that_says_otherwise_is_refused_in_words(self, approver, approval, users):
        review_file(
            approval.pk, path="src/b.py", outcome="rejected", comment="No.", user=users["approver"]
        )
        form = {"outcome": "approved", "feedback": "", "digest": approval.digest, "revision": 1}
        answer = approver.post(url(approval), form)
        assert answer.status_code == 409
        assert "You rejected a file." in text(answer)
        approval.refresh_from_db()
        assert approval.status == "pending"

    def test_who_may_not_decide_reads_them(self, client_for, ask):
        approval = ask(data={"files": FILES}, required_approvers=["user123"])
        viewer = client_for("viewer")
        page = html(viewer.get(url(approval)))
        assert "2 files under review" in page
        assert "Approve file" not in page
        answer = viewer.post(f"{url(approval)}files/reviews/", said(approval, outcome="approved"))
        assert answer.status_code == 403


class TestRemarks:
    def test_one_stands_below_its_line(self, approver, approval, users):
        address = f"{url(approval)}files/comments/"
        sent = said(approval, side="new", line="20", body="Why <b>twenty</b>?")
        assert approver.post(address, sent)["Location"] == f"{url(approval)}#file-1"
        page = html(approver.get(url(approval)))
        assert re.search(
            r"<mark>twenty</mark></span></div> ?<div class=\"code-remark\">.{0,300}"
            r"Why &lt;b&gt;twenty&lt;/b&gt;\?",
            page,
        )

    def test_a_line_that_is_not_there_is_refused_and_nothing_is_lost(self, approver, approval):
        for line in ("41", "0", "x", "９", "9" * 30):
            sent = said(approval, side="new", line=line, body="Kept words")
            answer = approver.post(f"{url(approval)}files/comments/", sent)
            assert answer.status_code == 400
            page = html(answer)
            assert "This side has 40 lines." in page
            assert "Kept words</textarea>" in page
        assert not LineComment.objects.exists()

    def test_the_number_of_queries_does_not_grow(
        self, approver, approval, users, django_assert_max_num_queries
    ):
        approver.get(url(approval))
        for line in range(1, 6):
            comment_line(
                approval.pk,
                path="src/a.py",
                side="new",
                line=line,
                body="x",
                user=users["viewer"],
            )
        with django_assert_max_num_queries(45):
            approver.get(url(approval))


def test_the_page_of_a_link_shows_them_without_forms(client, approval, users):
    link = link_for(approval, users["approver"], database_now())
    page = html(client.get(f"/approvals/link/{token_of(link)}/"))
    assert "2 files under review" in page
    assert "<mark>twenty</mark>" in page
    assert "Review this file" not in page
