"""The files of a request: which can be reviewed, by whom, and what the reviews come to."""

import pytest

from approvals.files import file_problems, files_of, rolled_up, written_up
from approvals.models import Door, FileReview, LineComment
from approvals.services import files
from approvals.services.decisions import Decision, decide
from approvals.services.files import comment_line, review_file
from approvals.services.requests import create_approval_request, visible_approval
from tests.gates import add_step, ask, start
from workflows.errors import Conflict, InvalidInput, NotPermitted, NotVisible
from workflows.models import Event, WorkflowExecution

__all__ = ["add_step", "ask", "start"]

pytestmark = pytest.mark.django_db

FILES = [
    {"path": "src/a.py", "before": "one\ntwo\n", "after": "one\n2\n"},
    {"path": "src/b.py", "after": "new\n"},
    {"path": "old.txt", "before": "gone\n", "after": None},
]


@pytest.fixture
def approval(ask):
    return ask(data={"files": FILES})


@pytest.fixture
def review(approval, users):
    def give(path, outcome, comment="", by="approver", **more):
        return review_file(
            approval.pk, path=path, outcome=outcome, comment=comment, user=users[by], **more
        )

    return give


def refused(call, *given, **named):
    with pytest.raises((InvalidInput, Conflict, NotPermitted, NotVisible)) as caught:
        call(*given, **named)
    return caught.value


class TestWhatIsAFile:
    @pytest.mark.parametrize(
        "path",
        [
            "../etc/passwd",
            "a/../../b",
            "/etc/passwd",
            "a//b",
            "./a",
            "a/",
            "a\\..\\b",
            "C:/windows",
            "~/key",
            "%2e%2e/%2e%2e/etc/passwd",
            "..%2Fa",
            "a\x00b",
            "a\u202eb",
            " ",
            "",
            None,
            7,
            "x" * 501,
        ],
    )
    def test_a_path_that_leads_elsewhere_is_refused_where_it_stands(self, workspace, users, path):
        data = {"files": [{"path": "ok", "after": ""}, {"path": path, "after": ""}]}
        problems = list(file_problems(data))
        assert [(each.error_type, each.path) for each in problems] == [
            ("invalid_path", "/approval_data/files/1/path")
        ]

    def test_a_request_with_such_a_path_is_not_made(self, workspace, users):
        refusal = refused(
            create_approval_request,
            workspace=workspace,
            title="Merge?",
            user=users["operator"],
            approval_data={"files": [{"path": "../../etc/passwd", "after": "x"}]},
        )
        assert [each.path for each in refusal.problems] == ["/approval_data/files/0/path"]

    @pytest.mark.parametrize(
        ("file", "code", "place"),
        [
            ({"path": "a", "after": 5}, "invalid_type", "/after"),
            ({"path": "a"}, "required", ""),
            ({"path": "src/a.py", "after": ""}, "duplicate_path", "/path"),
            ("a", "invalid", ""),
        ],
    )
    def test_what_else_is_no_file(self, file, code, place):
        found = list(file_problems({"files": [FILES[0], file]}))
        assert [(each.error_type, each.path) for each in found] == [
            (code, f"/approval_data/files/1{place}")
        ]

    @pytest.mark.parametrize("files", [3, "a", ["a.txt"], [{"name": "a"}], {"path": "a"}, []])
    def test_other_content_of_that_name_is_content(self, files):
        assert list(file_problems({"files": files})) == []

    def test_a_gates_files_are_shown_as_content_if_one_cannot_be_reviewed(self, ask):
        assert files_of(ask(data={"files": [*FILES, {"path": "../x", "after": ""}]})) == []

    def test_what_becomes_of_each(self, approval):
        assert [file.change for file in files_of(approval)] == ["changed", "added", "deleted"]


class TestReviewing:
    def test_one_says_one_thing_of_a_file_until_one_says_another(self, approval, review, users):
        review("src/a.py", "approved")
        review("src/a.py", "rejected", "No tests.")
        found = FileReview.objects.get()
        assert (found.outcome, found.comment, found.reviewer) == (
            "rejected",
            "No tests.",
            users["approver"],
        )
        told = Event.objects.filter(event_type="file_reviewed").order_by("seq")
        assert [event.data["outcome"] for event in told] == ["approved", "rejected"]
        assert {event.approval_id for event in told} == {approval.pk}

    def test_a_refusal_needs_words_or_a_remark_on_a_line(self, approval, review, users):
        assert refused(review, "src/a.py", "request_changes").code == "feedback_required"
        comment_line(
            approval.pk, path="src/a.py", side="new", line=2, body="Why 2?", user=users["approver"]
        )
        review("src/a.py", "request_changes")
        assert written_up(approval, users["approver"]) == "src/a.py:2: Why 2?"

    @pytest.mark.parametrize(
        ("path", "outcome", "code"),
        [
            ("src/c.py", "approved", "unknown_file"),
            ("../old.txt", "approved", "unknown_file"),
            ("src/a.py", "retracted", "invalid_choice"),
        ],
    )
    def test_what_cannot_be_said(self, review, path, outcome, code):
        assert refused(review, path, outcome).code == code

    def test_only_who_may_decide_reviews(self, ask, users, outsider):
        approval = ask(data={"files": FILES}, required_approvers=["user123"])
        given = {"path": "src/a.py", "outcome": "approved"}
        for name in ("viewer", "editor"):
            refusal = refused(review_file, approval.pk, user=users[name], **given)
            assert refusal.code == "not_an_approver"
        assert isinstance(refused(review_file, approval.pk, user=outsider, **given), NotVisible)

    def test_what_was_seen_must_still_be_there(self, review, approval):
        assert refused(review, "src/a.py", "approved", digest="0" * 64).code == "stale_digest"
        review("src/a.py", "approved", digest=approval.digest)

    def test_a_review_of_other_content_does_not_count(self, approval, review, users):
        for file in FILES:
            review(file["path"], "approved")
        assert rolled_up(approval, users["approver"]) == "approved"
        approval.digest = "f" * 64
        assert rolled_up(approval, users["approver"]) is None

    def test_nothing_is_said_of_what_is_decided(self, approval, review, users):
        decide(Decision(approval.pk, "approved"), user=users["admin"], door=Door.API)
        assert refused(review, "src/a.py", "approved").code == "already_decided"

    @pytest.mark.parametrize(
        ("side", "line", "body", "code"),
        [
            ("new", 3, "x", "unknown_line"),
            ("new", 0, "x", "unknown_line"),
            ("both", 1, "x", "invalid_choice"),
            ("old", 1, "  ", "required"),
            ("old", 1, "x\x00", "nul_character"),
            ("old", 1, "x" * 10_001, "too_long"),
        ],
    )
    def test_a_remark_is_on_a_line_that_is_there(self, approval, users, side, line, body, code):
        given = {"path": "src/a.py", "side": side, "line": line, "body": body}
        assert refused(comment_line, approval.pk, user=users["viewer"], **given).code == code
        assert not LineComment.objects.exists()

    def test_a_request_that_is_deleted_meanwhile_is_not_there(self, review, monkeypatch):
        def look(*given):
            found = visible_approval(*given)
            WorkflowExecution.objects.all().delete()
            return found

        monkeypatch.setattr(files, "visible_approval", look)
        assert isinstance(refused(review, "src/a.py", "approved"), NotVisible)


class TestRollingUp:
    @pytest.mark.parametrize(
        ("outcomes", "whole"),
        [
            (["approved", "approved", "approved"], "approved"),
            (["approved", "approved", ""], None),
            (["approved", "request_changes", ""], "request_changes"),
            (["request_changes", "", "rejected"], "rejected"),
            (["", "", ""], None),
        ],
    )
    def test_the_worst_one_counts(self, approval, review, users, outcomes, whole):
        for file, outcome in zip(FILES, outcomes, strict=True):
            if outcome:
                review(file["path"], outcome, "Words.")
        review("old.txt", "rejected", "Not mine.", by="admin")
        assert rolled_up(approval, users["approver"]) == whole

    @pytest.mark.parametrize(
        ("said", "outcome", "code"),
        [
            ({"src/a.py": "rejected"}, "approved", "files_contradict"),
            ({"src/a.py": "rejected"}, "request_changes", "files_contradict"),
            ({"src/a.py": "request_changes"}, "approved", "files_contradict"),
            ({"src/a.py": "approved"}, "approved", "files_not_reviewed"),
            (dict.fromkeys(["src/a.py", "src/b.py", "old.txt"], "approved"), "rejected",
             "files_contradict"),
        ],
    )  # fmt: skip
    def test_the_decision_does_not_contradict_them(
        self, approval, review, users, said, outcome, code
    ):
        for path, each in said.items():
            review(path, each, "Words.")
        decision = Decision(approval.pk, outcome, "Words.")
        refusal = refused(decide, decision, user=users["approver"], door=Door.API)
        assert refusal.code == code
        approval.refresh_from_db()
        assert approval.status == "pending"

    @pytest.mark.parametrize(
        ("said", "outcome"),
        [
            ({}, "approved"),
            ({"src/a.py": "approved"}, "rejected"),
            ({"src/a.py": "rejected"}, "rejected"),
            ({"src/a.py": "request_changes"}, "request_changes"),
            (dict.fromkeys(["src/a.py", "src/b.py", "old.txt"], "approved"), "approved"),
        ],
    )
    def test_what_agrees_is_recorded(self, approval, review, users, said, outcome):
        for path, each in said.items():
            review(path, each, "Words.")
        review("src/a.py", "rejected", "Another's.", by="admin")
        decide(Decision(approval.pk, outcome, "Words."), user=users["approver"], door=Door.API)
        approval.refresh_from_db()
        assert approval.status == outcome
