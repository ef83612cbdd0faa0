"""What was decided: found, paged through, and taken away as a file."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.test import AsyncClient
from django.utils import timezone

from approvals.models import Door, WorkflowStepApproval
from approvals.pages import export
from approvals.services.decisions import Decision, decide
from approvals.services.retraction import retract
from tests.pages import html, row_titles
from workflows.services.definitions import create_workflow

pytestmark = pytest.mark.django_db

URL = "/approvals/history/"


@pytest.fixture
def decided(ask, users):
    """Return a function that asks and decides: ``decided("Deploy", "rejected", "No.")``."""

    def make(title, outcome="approved", feedback="", *, by="approver", door=Door.PAGE, **asked):
        approval = ask(title, required_approvers=[], **asked)
        decide(Decision(approval.pk, outcome, feedback), user=users[by], door=door)
        return approval

    return make


def at(approval, moment):
    WorkflowStepApproval.objects.filter(pk=approval.pk).update(responded_at=moment)


class TestThePage:
    def test_it_says_what_was_decided_by_whom_and_how(self, approver, decided, ask, users):
        users["approver"].first_name, users["approver"].last_name = "Dana", "Okafor"
        users["approver"].save()
        decided("Refund it", "rejected", "Too much.", door=Door.API)
        ask("Still open")
        answer = approver.get(URL)
        assert row_titles(answer) == ["Refund it"]
        page = html(answer)
        for words in ("Rejected", "Dana Okafor", "API", "“Too much.”", "Deploy, run 1"):
            assert words in page, words

    def test_it_is_empty_with_words(self, approver):
        assert "Nothing has been decided yet" in html(approver.get(URL))

    def test_what_was_taken_back_says_so(self, approver, decided, users):
        approval = decided("Deploy it")
        assert "taken back" not in html(approver.get(URL))
        retract(approval.pk, user=users["approver"], door=Door.PAGE)
        assert "taken back" in html(approver.get(URL))

    def test_the_votes_before_the_last_are_counted(self, approver, ask, users):
        approval = ask(required_approvers=["user123", "editor"], rules={"min_approvals": "all"})
        for role in ("editor", "approver"):
            decide(Decision(approval.pk, "approved"), user=users[role], door=Door.PAGE)
        assert "and 1 other<" in html(approver.get(URL))

    def test_another_workspace_is_not_seen(self, client, decided, outsider):
        decided("Deploy it")
        client.force_login(outsider, "django.contrib.auth.backends.ModelBackend")
        assert row_titles(client.get(URL)) == []
        assert client.get("/approvals/history.json").getvalue() == b"[]\n"

    def test_its_region_refreshes_itself(self, approver, decided):
        decided("Deploy it")
        answer = approver.get(URL, headers={"X-MGX-Region": "history"})
        assert row_titles(answer) == ["Deploy it"]
        assert "<html" not in html(answer)


class TestFilters:
    def test_by_words_outcome_person_door_risk_workflow_and_date(
        self, approver, decided, users, workspace, agents, example_definition
    ):
        document = {**example_definition, "name": "Refunds"}
        other = create_workflow(workspace=workspace, document=document, user=users["editor"])
        old = decided(
            "Pay out", "rejected", "No.", by="admin", door=Door.API, risk="high", of=other
        )
        at(old, timezone.now() - timedelta(days=10))
        decided("Deploy it")

        def found(**query):
            return row_titles(approver.get(URL, query))

        assert found() == ["Deploy it", "Pay out"]
        assert found(q="refunds") == found(q="pay") == ["Pay out"]
        assert found(outcome="rejected") == ["Pay out"]
        assert found(by=users["admin"].pk) == ["Pay out"]
        assert found(by="mgx") == []
        assert found(door="api") == ["Pay out"]
        assert found(risk="high") == ["Pay out"]
        assert found(workflow=other.pk) == ["Pay out"]
        week_ago = f"{timezone.now() - timedelta(days=7):%Y-%m-%d}"
        assert found(**{"from": week_ago}) == ["Deploy it"]
        assert found(to=week_ago) == ["Pay out"]
        assert found(**{"from": week_ago, "to": f"{timezone.now():%Y-%m-%d}"}) == ["Deploy it"]

    def test_the_address_keeps_them_and_the_files_have_them(self, approver, decided):
        decided("Deploy it")
        page = html(approver.get(URL, {"q": "deploy", "outcome": "approved"}))
        assert 'name="q" value="deploy"' in page
        assert '<option value="approved" selected>' in page
        assert 'href="/approvals/history.csv?q=deploy&amp;outcome=approved"' in page

    def test_what_nothing_fits_leads_back(self, approver, decided):
        decided("Deploy it")
        assert "No decided request matches" in html(approver.get(URL, {"q": "zebra"}))

    @pytest.mark.parametrize(
        "query",
        [
            {"q": "%_\x00'"},
            {"by": "9" * 30},
            {"by": "²"},
            {"workflow": "../", "door": "x", "outcome": "pending", "risk": "?"},
            {"from": "2026-02-31", "to": "9999-12-31"},
            {"from": "yesterday"},
            {"before": "_"},
            {"before": "2026-01-01T00:00:00_00000000-0000-0000-0000-000000000000"},
            {"before": "0001-01-01T00:00:00+14:00_00000000-0000-0000-0000-000000000000"},
            {"after": "9999-12-31T23:59:59-14:00_00000000-0000-0000-0000-000000000000"},
            {"after": "x" * 5_000},
        ],
    )
    def test_nonsense_is_ignored(self, approver, decided, query):
        decided("Deploy it")
        assert approver.get(URL, query).status_code == 200
        assert approver.get("/approvals/history.csv", query).status_code == 200


def test_stretches_show_everything_once_while_more_is_decided(approver, decided, ask, users):
    now = timezone.now()
    first = [decided(f"R{number}") for number in range(5)]
    for number, approval in enumerate(first):
        at(approval, now - timedelta(minutes=number // 2))  # some at the same moment
    from approvals.pages.history import History
    from workflows.pages import Reader

    reader = Reader(users["approver"], first[0].workspace, None, 0, ())
    history = History(reader, {})
    seen, edge = [], ""
    while True:
        taken = history.take(before=edge, size=2)
        seen += [each.title for each in taken.rows]
        if not taken.older:
            break
        edge = taken.older
        decided("Later")
    assert sorted(seen) == ["R0", "R1", "R2", "R3", "R4"]
    back = history.take(after=edge, size=2)
    assert [each.title for each in back.rows] == seen[1:3]
    assert back.newer
    assert back.older
    assert history.take(size=50).newer == ""


class TestFiles:
    def test_a_csv_that_no_spreadsheet_runs(self, approver, decided):
        decided('=HYPERLINK("http://evil.example")', "rejected", "\t@SUM(1)")
        decided("-1+1 is what it says")
        answer = approver.get("/approvals/history.csv")
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        assert answer["Content-Disposition"] == 'attachment; filename="approvals-acme.csv"'
        second, first = csv.DictReader(io.StringIO(answer.getvalue().decode()))
        assert first["title"] == '\'=HYPERLINK("http://evil.example")'
        assert first["feedback"] == "'\t@SUM(1)"
        assert second["title"].startswith("'-1+1")
        assert (first["status"], first["decided_by"], first["run"]) == ("rejected", "user123", "1")
        assert [first[name] for name in ("workflow", "risk")] == ["Deploy", "medium"]

    def test_json_has_every_decision_and_nothing_of_the_content(self, approver, decided, users):
        approval = decided("Deploy it", data={"password": "hunter2"})
        text = approver.get("/approvals/history.json").getvalue().decode()
        (document,) = json.loads(text)
        assert document["id"] == str(approval.pk)
        assert document["digest"] == approval.digest
        (decision,) = document["decisions"]
        assert decision["user"] == "user123"
        assert decision["door"] == "page"
        assert "hunter2" not in text

    def test_it_is_bounded_and_written_in_chunks(self, approver, decided, monkeypatch):
        for number in range(5):
            decided(f"R{number}")
        monkeypatch.setattr(export, "_AT_ONCE", 2)
        every = json.loads(approver.get("/approvals/history.json").getvalue())
        assert [each["title"] for each in every] == ["R4", "R3", "R2", "R1", "R0"]
        monkeypatch.setattr(export, "EXPORTED_AT_MOST", 3)
        assert len(json.loads(approver.get("/approvals/history.json").getvalue())) == 3

    def test_whoever_is_not_signed_in_gets_none(self, client, decided):
        decided("Deploy it")
        assert client.get("/approvals/history.csv").status_code == 302


@pytest.mark.django_db(transaction=True)
async def test_a_file_is_streamed_over_asgi_too(users):
    client = AsyncClient()
    backend = "django.contrib.auth.backends.ModelBackend"
    await client.aforce_login(users["approver"], backend)
    answer = await client.get("/approvals/history.json")
    assert b"".join([part async for part in answer.streaming_content]) == b"[]\n"
