"""The request page in a browser: edits are counted, files reviewed, others' words come in."""

from playwright.sync_api import expect

from approvals.models import FileReview, LineComment
from approvals.services.questions import answer
from approvals.services.questions import ask as ask_question

SCHEMA = {
    "type": "object",
    "properties": {
        "ticket": {"type": "string", "title": "Ticket"},
        "share": {"type": "integer", "title": "First stage, percent", "x-edits": "/plan/share"},
    },
}
FILES = [{"path": "a.py", "before": "one\ntwo\n", "after": "one\n2\n"}]


def test_the_button_says_how_many_edits_go_with_the_approval(browse, ask):
    approval = ask(data={"plan": {"share": 10}}, rules={"form_schema": SCHEMA})
    page = browse(f"/approvals/{approval.pk}/")
    page.get_by_role("radio", name="Approve").check()
    page.get_by_label("Ticket").fill("CHG-1")
    page.get_by_text("Edit before approving").click()
    page.get_by_label("First stage, percent").fill("5")
    page.get_by_label("First stage, percent").blur()
    page.get_by_role("button", name="Approve revision 1 with 1 edit").click()
    expect(page.locator("#decision")).to_contain_text("Approved")
    approval.refresh_from_db()
    assert approval.approval_data == {"plan": {"share": 5}}
    assert approval.response_data == {"ticket": "CHG-1", "share": 5}


def test_a_lines_number_opens_the_remark_and_reviews_lead_to_the_decision(browse, ask):
    approval = ask(data={"files": FILES})
    page = browse(f"/approvals/{approval.pk}/")
    page.get_by_label("Comment (needed unless you approve)").fill("Typed before")
    page.locator('[data-line-of="new:2"]').click()
    expect(page.get_by_label("Line", exact=True)).to_have_value("2")
    page.get_by_label("Remark", exact=True).fill("Why 2?")
    page.get_by_role("button", name="Add the remark").click()
    expect(page.locator(".code-remark")).to_contain_text("Why 2?")
    page.get_by_role("button", name="Reject file").click()
    expect(page.get_by_role("radio", name="Reject")).to_be_checked()
    page.get_by_role("button", name="Reject revision 1").click()
    expect(page.locator("#decision")).to_contain_text("Rejected")
    assert (FileReview.objects.get().outcome, LineComment.objects.get().line) == ("rejected", 2)
    approval.refresh_from_db()
    assert approval.feedback == "a.py:2: Why 2?"


def test_questions_and_answers_come_in_beside_what_one_types(browse, ask, users):
    approval = ask(expires_after_seconds=3_600)
    page = browse(f"/approvals/{approval.pk}/")
    expect(page.locator("#live")).to_have_text("Live")
    page.get_by_role("radio", name="Reject").check()
    field = page.get_by_label("Why do you reject it?")
    field.type("Not")
    question = ask_question(approval.pk, user=users["admin"], body="Which window?")
    expect(page.locator("#decision")).to_contain_text("A question is open.")
    expect(page.locator("#summary")).to_contain_text("The clock stands still")
    answer(question.pk, user=users["operator"], body="Tonight.")
    expect(page.locator("#comments")).to_contain_text("Tonight.")
    expect(page.locator("#decision")).not_to_contain_text("A question is open.")
    expect(field).to_be_focused()
    expect(field).to_have_value("Not")


def test_all_of_it_works_without_any_script(browse, ask):
    approval = ask(data={"files": FILES})
    page = browse(f"/approvals/{approval.pk}/", java_script_enabled=False)
    page.get_by_label("Add a comment, or ask operator something. It decides nothing.").fill("Why?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#decision")).to_contain_text("A question is open.")
    page.get_by_text("Pass it to someone else…").click()
    page.get_by_label("Who may decide in your place?").select_option("admin")
    page.get_by_role("button", name="Let them decide").click()
    expect(page.locator(".toast-note")).to_contain_text("admin can decide in your place now.")
    page.get_by_role("button", name="Approve file").click()
    page.get_by_role("button", name="Decide on revision 1").click()
    expect(page.locator("#decision")).to_contain_text("Approved")
    page.get_by_role("button", name="Take back").click()
    expect(page.locator("#decision")).to_contain_text("Your decision")
