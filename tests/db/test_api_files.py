"""Files under review over REST."""

import pytest

from tests.gates import add_step, ask, start

__all__ = ["add_step", "ask", "start"]

pytestmark = pytest.mark.django_db

FILES = [
    {"path": "src/a.py", "before": "one\n", "after": "two\n"},
    {"path": "src/b.py", "after": "new\n"},
]


@pytest.fixture
def address(ask):
    return f"/api/v1/approvals/{ask(data={'files': FILES}).pk}/"


def post(api, address, **body):
    return api.post(address, body, format="json")


def test_files_are_listed_reviewed_and_rolled_up(api, address):
    client = api("approver")
    assert client.get(f"{address}files/").json()["outcome"] is None
    review = post(client, f"{address}files/reviews/", path="src/a.py", outcome="approved")
    assert review.status_code == 200
    assert (review.json()["reviewer"], review.json()["outcome"]) == ("user123", "approved")
    remark = {"path": "src/b.py", "line": 1, "body": "Why?"}
    assert post(api("viewer"), f"{address}files/comments/", **remark).status_code == 201
    said = {"path": "src/b.py", "outcome": "request_changes", "comment": "Say why."}
    assert post(client, f"{address}files/reviews/", **said).status_code == 200
    shown = client.get(f"{address}files/").json()
    assert shown["outcome"] == "request_changes"
    assert [(each["path"], each["change"]) for each in shown["files"]] == [
        ("src/a.py", "changed"),
        ("src/b.py", "added"),
    ]
    assert [each["body"] for each in shown["files"][1]["comments"]] == ["Why?"]
    assert [each["comment"] for each in shown["files"][1]["reviews"]] == ["Say why."]
    listed = client.get(f"{address}files/reviews/").json()["results"]
    assert [each["path"] for each in listed] == ["src/a.py", "src/b.py"]
    assert len(client.get(f"{address}files/comments/").json()["results"]) == 1
    assert api("viewer").get(f"{address}files/").json()["outcome"] is None


def test_a_decision_that_contradicts_them_is_a_conflict(api, address):
    client = api("approver")
    said = {"path": "src/b.py", "outcome": "rejected", "comment": "No."}
    post(client, f"{address}files/reviews/", **said)
    answer = post(client, f"{address}decisions/", outcome="approved")
    assert answer.status_code == 409
    assert (answer.json()["code"], answer.json()["files_outcome"]) == (
        "files_contradict",
        "rejected",
    )
    answer = post(client, f"{address}decisions/", outcome="rejected", feedback="No.")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("role", "body", "status", "code"),
    [
        ("approver", {"path": "../x", "outcome": "approved"}, 400, "unknown_file"),
        ("approver", {"path": "src/a.py", "outcome": "timeout"}, 400, "invalid"),
        ("approver", {"path": "src/a.py", "outcome": "rejected"}, 400, "feedback_required"),
        ("approver", {"path": "src/a.py", "outcome": "approved", "digest": "0"}, 409,
         "stale_digest"),
        ("viewer", {"path": "src/a.py", "outcome": "approved"}, 403, "not_an_approver"),
    ],
)  # fmt: skip
def test_what_is_refused(api, address, role, body, status, code):
    answer = post(api(role), f"{address}files/reviews/", **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a/../b", "%2e%2e/b"])
def test_a_path_that_leads_elsewhere_is_refused(api, workspace, path):
    answer = post(
        api("operator"),
        "/api/v1/approvals/",
        workspace="acme",
        title="Merge?",
        approval_data={"files": [{"path": path, "after": "x"}]},
    )
    assert answer.status_code == 400
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/approval_data/files/0/path"]


def test_what_another_workspace_owns_is_not_there(make_api, outsider, address):
    client = make_api(outsider)
    for name in ("files/", "files/reviews/", "files/comments/"):
        assert client.get(f"{address}{name}").status_code == 404
    said = {"path": "src/a.py", "outcome": "approved"}
    assert post(client, f"{address}files/reviews/", **said).status_code == 404
