"""The form of a request on its page: fields, edits, the password for a high risk."""

import re

import pytest
from django.contrib.auth.models import Group

from approvals.models import Door
from approvals.services.decisions import Decision, decide
from approvals.sign_in import RECENT_SECONDS
from tests.pages import html, ids_used_twice, text

pytestmark = pytest.mark.django_db

SCHEMA = {
    "type": "object",
    "required": ["ticket"],
    "properties": {
        "ticket": {"type": "string", "title": "Change ticket", "maxLength": 8},
        "notify": {"type": "boolean"},
        "window": {"enum": ["today", "tomorrow", 3]},
        "start": {"type": "string", "format": "date"},
        "notes": {"type": "string", "maxLength": 2_000},
        "labels": {"type": "object"},
        "share": {"type": "number", "minimum": 1, "maximum": 50, "x-edits": "/plan/share"},
    },
}
DATA = {"plan": {"share": 10, "text": "Canary"}}


def url(approval):
    return f"/approvals/{approval.pk}/"


def sent(approval, outcome="approved", **fields):
    form = {"outcome": outcome, "feedback": "", "digest": approval.digest, "revision": 1}
    return form | {f"field-{name}": text for name, text in fields.items()}


@pytest.fixture
def approval(ask):
    return ask(data=DATA, rules={"form_schema": SCHEMA})


class TestFields:
    def test_each_kind_has_its_control(self, approver, approval):
        page = html(approver.get(url(approval)))
        assert re.search(r'<input[^>]*name="field-ticket"[^>]*type="text"', page)
        assert re.search(r'<select[^>]*name="field-notify"', page)
        assert re.search(r'<option value="&quot;today&quot;">today</option>', page)
        assert re.search(r'<input[^>]*name="field-start"[^>]*type="date"', page)
        assert re.search(r'<textarea[^>]*name="field-notes"', page)
        assert re.search(r'<textarea[^>]*class="form-control mono"[^>]*name="field-labels"', page)
        assert re.search(r'name="field-share"[^>]*inputmode="decimal" value="10"', page)
        assert "The agent proposed 10. From 1 to 50." in page
        assert re.search(r"Change ticket ?<span[^>]*>\(required\)", page)

    def test_names_that_are_nearly_the_same_have_fields_of_their_own(self, approver, ask):
        names = ("a b", "a-b", "A b", "ü", "é")
        schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
        page = approver.get(url(ask(rules={"form_schema": schema})))
        assert not ids_used_twice(page)
        for name in names:
            assert f'name="field-{name}"' in html(page)

    def test_what_is_filled_in_is_recorded(self, approver, approval):
        form = sent(
            approval,
            ticket="CHG-1",
            notify="true",
            window='"tomorrow"',
            start="2026-11-30",
            notes="a\r\nb",
            labels='{"a": [1]}',
            share="10",
        )
        assert approver.post(url(approval), form).status_code == 302
        approval.refresh_from_db()
        assert approval.status == "approved"
        assert approval.response_data == {
            "ticket": "CHG-1",
            "notify": True,
            "window": "tomorrow",
            "start": "2026-11-30",
            "notes": "a\nb",
            "labels": {"a": [1]},
            "share": 10,
        }
        assert approval.decisions.get().edited_data is None

    @pytest.mark.parametrize(
        ("field", "given", "words"),
        [
            ("ticket", "", "This is required."),
            ("ticket", "much too long", "Write at most 8 characters."),
            ("notify", "1", "Choose yes or no."),
            ("window", '"never"', "Choose one of these."),
            ("start", "30.11.", "This is no valid date."),
            ("labels", "{", "Enter JSON"),
            ("share", "51", "This must be at most 50."),
            ("share", "NaN", "Enter a number."),
            ("share", "true", "Enter a number."),
            ("share", "１", "Enter a number."),
        ],
    )
    def test_a_mistake_is_said_at_its_field_and_nothing_is_lost(
        self, approver, approval, field, given, words
    ):
        form = sent(approval, **{"ticket": "CHG-1", "notes": "Kept </textarea>", field: given})
        answer = approver.post(url(approval), form)
        assert answer.status_code == 400
        page = html(answer)
        described = re.search(rf'name="field-{field}"[^>]*aria-describedby="([^"]+)"', page)
        assert described is not None
        beside = re.search(rf'id="{described[1]}">(.*?)</div>', page)
        assert beside is not None
        assert words in beside[1]
        assert re.search(rf'name="field-{field}"[^>]*aria-invalid="true"', page)
        assert "Kept &lt;/textarea&gt;</textarea>" in page
        assert re.search(r'value="approved" checked', page)
        approval.refresh_from_db()
        assert approval.status == "pending"

    def test_who_rejects_fills_nothing_in(self, approver, approval):
        form = sent(approval, "rejected") | {"feedback": "Not today."}
        assert approver.post(url(approval), form).status_code == 302
        approval.refresh_from_db()
        assert (approval.status, approval.response_data) == ("rejected", None)


class TestEdits:
    def test_an_edit_changes_what_runs(self, approver, approval):
        before = approval.digest
        form = sent(approval, ticket="CHG-1", share="5")
        assert approver.post(url(approval), form).status_code == 302
        approval.refresh_from_db()
        assert approval.approval_data == {"plan": {"share": 5, "text": "Canary"}}
        assert approval.digest != before
        assert approval.decisions.get().edited_data == approval.approval_data

    def test_who_had_approved_is_told_to_be_asked_again(self, client_for, ask, users):
        approval = ask(data=DATA, rules={"form_schema": SCHEMA, "min_approvals": 2})
        first = Decision(approval.pk, "approved", response_data={"ticket": "1"})
        decide(first, user=users["admin"], door=Door.API)
        approver = client_for("approver")
        words = text(approver.get(url(approval)))
        assert "admin approved without your edits, and will be asked again" in words
        answer = approver.post(url(approval), sent(approval, ticket="2", share="5"), follow=True)
        assert "is counted: 1 of 2." in text(answer)
        page = text(client_for("admin").get(url(approval)))
        assert "user123 changed the content." in page
        assert "1 of 2 approved" in page


class TestVotes:
    @pytest.fixture
    def approval(self, ask, users):
        group = Group.objects.create(name="legal")
        users["editor"].groups.add(group)
        policy = {"all_of": ["user123", "group:legal"]}
        names = ["user123", "group:legal"]
        return ask(required_approvers=names, rules={"policy": policy})

    def test_the_rule_and_who_is_missing(self, approver, approval):
        words = text(approver.get(url(approval)))
        assert "0 of 2 approved" in words
        assert "It takes all of you and group legal." in words
        assert "It is counted, and 1 more is wanted. Once all are in: execute_plan" in words
        assert re.search(r"Group legal .{0,80} Waiting", words)

    def test_a_vote_is_counted_shown_and_taken_back(self, approver, approval, client_for):
        answer = approver.post(url(approval), sent(approval), follow=True)
        words = text(answer)
        assert "is counted: 1 of 2." in words
        assert "Your approval is counted. 1 of 2 have approved." in words
        assert "Waiting for others" in words
        assert "Waiting for you" not in words
        assert re.search(r"You user123, on this page, today at .{0,20} Approved", words)
        assert re.search(r"Group legal .{0,80} Waiting", words)
        back = approver.post(f"{url(approval)}retraction/", follow=True)
        assert back.redirect_chain == [(url(approval), 302)]
        words = text(back)
        assert "0 of 2 approved" in words
        assert "Taken back" in words

    def test_a_final_one_is_taken_back_until_its_step_goes_on(self, approver, ask, users):
        approval = ask()
        approver.post(url(approval), sent(approval))
        assert "Take back" in html(approver.get(url(approval)))
        back = approver.post(f"{url(approval)}retraction/", follow=True)
        ((address, _),) = back.redirect_chain
        assert address != url(approval)
        assert "Waiting for your approval" in html(back)
        again = approver.post(f"{url(approval)}retraction/")
        assert again.status_code == 409

    def test_what_is_not_ones_own_is_not_taken_back(self, client_for, ask, users):
        approval = ask()
        decide(Decision(approval.pk, "approved"), user=users["admin"], door=Door.API)
        approver = client_for("approver")
        assert "Take back" not in html(approver.get(url(approval)))
        assert approver.post(f"{url(approval)}retraction/").status_code == 409

    def test_a_named_person_without_the_role_is_said_to_have_none(self, client_for, ask):
        page = text(client_for("admin").get(url(ask(required_approvers=["viewer", "user123"]))))
        assert "Named, but is viewer: deciding needs the role approver" in page

    def test_the_receipt_is_kept_as_a_file(self, approver, approval):
        approver.post(url(approval), sent(approval))
        answer = approver.get(f"{url(approval)}receipt/")
        assert answer["Content-Disposition"].startswith("attachment")
        assert answer.json()


class TestHighRisk:
    @pytest.fixture
    def late(self, client_for, users):
        """An approver's browser that signed in too long ago."""
        users["approver"].set_password("right-horse")
        users["approver"].save()
        client = client_for("approver")
        session = client.session
        session["signed_in_at"] -= RECENT_SECONDS + 1
        session.save()
        return client

    def test_who_has_just_signed_in_is_not_asked(self, approver, ask):
        approval = ask(risk="high")
        assert 'name="password"' not in html(approver.get(url(approval)))
        assert approver.post(url(approval), sent(approval)).status_code == 302

    def test_later_the_page_asks_for_the_password_and_keeps_what_was_written(self, late, ask):
        approval = ask(risk="high")
        assert 'name="password"' in html(late.get(url(approval)))
        form = sent(approval, "rejected") | {"feedback": "Kept words"}
        for password in ("", "wrong-horse"):
            answer = late.post(url(approval), form | {"password": password})
            assert answer.status_code == 403
            assert "Kept words</textarea>" in html(answer)
        assert "This is not your password." in html(answer)
        approval.refresh_from_db()
        assert approval.status == "pending"
        answer = late.post(url(approval), form | {"password": "right-horse"})
        assert answer.status_code == 302
        approval.refresh_from_db()
        assert approval.status == "rejected"

    def test_the_password_holds_for_the_next_one(self, late, ask):
        first, second = ask(risk="high"), ask(risk="high")
        late.post(url(first), sent(first) | {"password": "right-horse"})
        assert late.post(url(second), sent(second)).status_code == 302

    def test_several_at_once_leave_it_out(self, late, ask):
        risky, plain = ask(risk="high"), ask(risk="low")
        form = {"outcome": "approved", "id": [risky.pk, plain.pk]}
        form["seal"] = [f"{each.pk}:1:{each.digest}" for each in (risky, plain)]
        words = text(late.post("/approvals/review/", form))
        assert "Enter your password on the request’s own page." in words
        risky.refresh_from_db()
        plain.refresh_from_db()
        assert (risky.status, plain.status) == ("pending", "approved")

    def test_a_lower_risk_asks_nothing(self, late, ask):
        approval = ask(risk="medium")
        assert late.post(url(approval), sent(approval)).status_code == 302

    def test_wrong_ones_lock_as_at_the_sign_in(self, late, ask, settings):
        settings.AXES_FAILURE_LIMIT = 3
        approval = ask(risk="high")
        form = sent(approval) | {"password": "wrong-horse"}
        answers = [late.post(url(approval), form).status_code for _ in range(3)]
        assert answers == [403, 403, 429]
        right = late.post(url(approval), sent(approval) | {"password": "right-horse"})
        assert right.status_code == 429
        approval.refresh_from_db()
        assert approval.status == "pending"
