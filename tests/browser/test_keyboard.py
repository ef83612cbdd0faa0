"""Single-key shortcuts: they move and open, and never decide."""

from playwright.sync_api import expect

from approvals.models import ApprovalDecision


def test_j_and_k_move_x_selects_and_enter_opens(browse, ask):
    ask("First", expires_after_seconds=1_000)
    ask("Second", expires_after_seconds=2_000)
    page = browse("/")
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="First")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="Second")).to_be_focused()
    page.keyboard.press("x")
    expect(page.get_by_label("Select Second")).to_be_checked()
    expect(page.locator("[data-selection-count]")).to_have_text("1 selected")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="First", level=1)).to_be_visible()
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="Second", level=1)).to_be_visible()
    page.keyboard.press("u")
    expect(page.get_by_role("heading", name="Inbox", level=1)).to_be_visible()


def test_a_c_and_r_open_the_form_with_that_choice_and_decide_nothing(browse, ask):
    ask("First")
    page = browse("/")
    page.keyboard.press("j")
    page.keyboard.press("r")
    expect(page.get_by_role("radio", name="Reject")).to_be_checked()
    expect(page.get_by_role("button", name="Reject revision 1")).to_be_visible()
    page.keyboard.press("a")
    expect(page.get_by_role("radio", name="Approve")).to_be_checked()
    expect(page.get_by_role("radio", name="Approve")).to_be_focused()
    page.keyboard.press("c")
    expect(page.get_by_role("radio", name="Request changes")).to_be_checked()
    assert not ApprovalDecision.objects.exists()


def test_no_key_acts_while_one_types(browse, ask):
    ask("First")
    page = browse("/")
    page.keyboard.press("/")
    expect(page.get_by_placeholder("Search requests")).to_be_focused()
    page.keyboard.type("jax?")
    expect(page.get_by_placeholder("Search requests")).to_have_value("jax?")
    expect(page.locator("#keys")).to_be_hidden()


def test_help_lists_them_and_one_switch_turns_all_off(browse, ask):
    ask("First")
    page = browse("/")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard shortcuts")).to_be_visible()
    page.get_by_label("Use single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="First")).not_to_be_focused()
    page.reload()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_hidden()
    page.get_by_role("button", name="Switch shortcuts on").click()
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="First")).to_be_focused()
