"""Drafts in the admin: read from forms, checked as a whole, saved as a whole or not at all."""

import io
import json
import zipfile

import pytest
from admin_addresses import add_page_of, list_of, messages_on, page_of, posted_by
from django.contrib.admin.models import LogEntry

from workflows.core.documents import load_document
from workflows.models import Membership, Project, User, Workflow, WorkflowExecution
from workflows.services.definitions import (
    create_workflow,
    draft_document,
    publish,
    replace_draft,
)
from workflows.services.executions import start_execution

pytestmark = pytest.mark.django_db


def errors_of(page, prefix, index):
    """The errors beside a part of the draft, by field."""
    for inline in page.context["inline_admin_formsets"]:
        if inline.formset.prefix == prefix:
            return dict(inline.formset.forms[index].errors)
    raise AssertionError(prefix)


def save(client, workflow, **changes):
    data = posted_by(client.get(page_of(workflow)))
    data |= {name.replace("__", "-"): value for name, value in changes.items()}
    return client.post(page_of(workflow), data)


def is_saved(response):
    return response.status_code == 302


@pytest.fixture
def editor(staff):
    return staff("editor")


NEW = {
    "name": "Fresh",
    "timeout_seconds": "60",
    "max_retries": "1",
    "variables-TOTAL_FORMS": "1",
    "variables-INITIAL_FORMS": "0",
    "variables-0-name": "colour",
    "variables-0-data_type": "string",
    "variables-0-default_value": '"blue"',
    "steps-TOTAL_FORMS": "2",
    "steps-INITIAL_FORMS": "0",
    "steps-0-name": "look",
    "steps-0-step_type": "task",
    "steps-0-trigger_rule": "all_success",
    "steps-0-config": '{"task": "transform", "inputs": {"c": "${colour}"}}',
    "steps-1-name": "tell",
    "steps-1-step_type": "task",
    "steps-1-trigger_rule": "all_done",
    "steps-1-depends_on_steps": "look",
    "steps-1-config": '{"task": "log", "inputs": {"message": "done"}}',
}


def test_a_new_workflow_is_made_from_the_forms(editor, workspace, users):
    response = editor.post(add_page_of(Workflow), {**NEW, "workspace": str(workspace.pk)})
    assert is_saved(response)
    workflow = Workflow.objects.get(name="Fresh")
    document = draft_document(workflow)
    assert workflow.published_version is None
    assert workflow.created_by == users["editor"]
    assert document["variables"][0]["default_value"] == "blue"
    assert [step["name"] for step in document["steps"]] == ["look", "tell"]
    assert document["steps"][0]["config"]["inputs"] == {"c": "${colour}"}
    assert document["steps"][1]["depends_on_steps"] == ["look"]
    assert LogEntry.objects.get().object_id == str(workflow.pk)


def test_save_and_publish_does_both(editor, workspace):
    data = {**NEW, "workspace": str(workspace.pk), "_publish": "1"}
    response = editor.post(add_page_of(Workflow), data)
    workflow = Workflow.objects.get(name="Fresh")
    assert response["Location"] == page_of(workflow)
    assert workflow.published_version.number == 1


def test_saving_an_unchanged_page_changes_nothing_but_the_revision(editor, workflow):
    before = draft_document(workflow)
    assert is_saved(save(editor, workflow))
    workflow.refresh_from_db()
    assert draft_document(workflow) == before
    assert workflow.draft_revision == 2


def test_whatever_a_draft_says_a_page_saves_as_it_is(editor, workspace, users):
    text = "\n\n  Two lines,\nand <b>white space</b> &amp; so on: \u00a0\n\n"
    variables = [
        {"name": f"v{number}", "data_type": "json", "default_value": value, "description": text}
        for number, value in enumerate(([], {}, None, "", 0, False, "\n", [{}], {"a": []}))
    ]
    step = {
        "name": "look",
        "step_type": "task",
        "description": text,
        "condition_expression": "\nv4 > 1 &&\n  v4 < 3\n",
        "config": {"task": "transform", "inputs": {"text": text, "list": []}},
        "metadata": {"number": 9007199254740993, "text": text},
    }
    other = {**step, "name": "a, b", "depends_on_steps": ["look"], "step_order": 0}
    document = {"name": "W", "description": text, "variables": variables, "steps": [step, other]}
    workflow = create_workflow(workspace=workspace, document=document, user=users["editor"])
    before = draft_document(workflow)
    assert is_saved(save(editor, workflow))
    workflow.refresh_from_db()
    assert draft_document(workflow) == before
    assert publish(workflow, user=users["editor"]).number == 1


def test_parts_are_added_and_removed_together(editor, workflow):
    response = save(
        editor,
        workflow,
        steps__TOTAL_FORMS="4",
        steps__2__DELETE="on",
        steps__3__name="note, once",
        steps__3__step_type="task",
        steps__3__trigger_rule="all_success",
        steps__3__depends_on_steps='["approval_gate"]',
        steps__3__config='{"task": "log", "inputs": {"message": "hi"}}',
    )
    assert is_saved(response)
    names = [step.name for step in Workflow.objects.get().steps.all()]
    assert names == ["generate_plan", "approval_gate", "note, once"]


def test_what_is_wrong_stands_at_its_step_and_nothing_is_saved(editor, workflow):
    before = draft_document(workflow)
    response = save(
        editor,
        workflow,
        name="Renamed",
        steps__0__depends_on_steps="execute_plan",
        steps__1__timeout_seconds="0",
        steps__2__config='{"inputs": {"plan": "${nowhere}"}}',
    )
    assert response.status_code == 200
    assert "→" in errors_of(response, "steps", 0)["depends_on_steps"][0]
    assert "timeout_seconds" in errors_of(response, "steps", 1)
    assert "inputs.plan" in errors_of(response, "steps", 2)["config"][0]
    assert draft_document(Workflow.objects.get()) == before
    # What was typed is still there.
    assert posted_by(response)["steps-0-depends_on_steps"] == "execute_plan"
    assert posted_by(response)["name"] == "Renamed"


def test_a_problem_keeps_to_its_step_when_another_one_is_removed(editor, workflow):
    response = save(
        editor,
        workflow,
        steps__0__DELETE="on",
        steps__1__depends_on_steps="",
        steps__2__depends_on_steps="approval_gate, generate_plan",
    )
    assert errors_of(response, "steps", 0) == {}
    assert "generate_plan" in errors_of(response, "steps", 2)["depends_on_steps"][0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 2}', "given twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1', "line 1, column 8"),
        ("[1]", "must be an object"),
        ('{"a": "\\u0000"}', "NUL"),
        ("[" * 40 + "]" * 40, "deep"),
    ],
)
def test_json_is_read_strictly_and_answered_at_the_field(editor, workflow, text, says):
    response = save(editor, workflow, steps__0__config=text)
    assert says in errors_of(response, "steps", 0)["config"][0]
    assert posted_by(response)["steps-0-config"] == text
    assert Workflow.objects.get().draft_revision == 1


def test_numbers_keep_every_digit(editor, workflow):
    assert is_saved(save(editor, workflow, steps__0__metadata='{"n": 9007199254740993}'))
    assert Workflow.objects.get().steps.all()[0].metadata == {"n": 9007199254740993}


def test_a_form_that_somebody_overtook_is_refused(editor, users, workflow):
    data = posted_by(editor.get(page_of(workflow)))
    theirs = {**draft_document(workflow), "description": "Theirs"}
    replace_draft(workflow, theirs, user=users["admin"])
    response = editor.post(page_of(workflow), {**data, "description": "Mine"})
    assert response.status_code == 200
    assert "revision 1, it is at 2" in response.context["errors"].as_text()
    assert Workflow.objects.get().description == "Theirs"


def test_a_form_without_its_revision_is_refused(editor, workflow):
    data = posted_by(editor.get(page_of(workflow)))
    del data["expected_revision"]
    assert editor.post(page_of(workflow), data).status_code == 200
    assert Workflow.objects.get().draft_revision == 1


def test_a_name_that_is_taken_is_told_at_the_name(editor, workspace, workflow):
    data = {**NEW, "workspace": str(workspace.pk), "name": workflow.name}
    response = editor.post(add_page_of(Workflow), data)
    assert "already" in response.context["adminform"].form.errors["name"][0]


def test_no_steps_are_no_workflow(editor, workspace):
    data = {**NEW, "workspace": str(workspace.pk), "steps-TOTAL_FORMS": "0"}
    response = editor.post(add_page_of(Workflow), data)
    assert response.status_code == 200
    assert "steps" in response.context["errors"].as_text()


def test_workspaces_to_choose_are_those_one_edits(editor, workspace, other_workspace, users):
    Membership.objects.create(workspace=other_workspace, user=users["editor"], role="viewer")
    project = Project.objects.create(workspace=other_workspace, name="Theirs", slug="theirs")
    page = editor.get(add_page_of(Workflow)).content.decode()
    assert str(workspace.pk) in page
    assert str(other_workspace.pk) not in page
    data = {**NEW, "workspace": str(other_workspace.pk), "project": str(project.pk)}
    response = editor.post(add_page_of(Workflow), data)
    assert set(response.context["adminform"].form.errors) == {"workspace", "project"}
    assert not Workflow.objects.exists()


def test_a_draft_of_many_steps_is_saved(editor, workspace, users, settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000
    step = {"step_type": "task", "config": {"task": "log", "inputs": {"message": "x"}}}
    steps = [{**step, "name": f"s{number}"} for number in range(80)]
    document = {"name": "Wide", "steps": steps}
    workflow = create_workflow(workspace=workspace, document=document, user=users["editor"])
    response = save(editor, workflow, steps__70__description="Changed")
    assert is_saved(response), response.context["errors"].as_text()[:2000]
    assert Workflow.objects.get().steps.get(name="s70").description == "Changed"


def test_a_superuser_edits_as_a_member_only(superuser, workflow):
    page = superuser.get(page_of(workflow))
    assert "as a superuser" in page.content.decode()
    assert superuser.post(page_of(workflow), {"name": "Mine"}).status_code == 403
    root = User.objects.get(username="root")
    Membership.objects.create(workspace=workflow.workspace, user=root, role="editor")
    assert is_saved(save(superuser, workflow, description="As a member"))


def test_publishing_is_of_the_revision_that_was_seen(editor, workflow):
    save(editor, workflow, description="Second")
    response = editor.post(page_of(workflow, "publish"), {"revision": "1"}, follow=True)
    assert "it is at 2" in messages_on(response)[-1]
    response = editor.post(page_of(workflow, "publish"), {"revision": "2"}, follow=True)
    assert "version 2" in messages_on(response)[-1]
    assert editor.get(page_of(workflow, "publish")).status_code == 405


def test_several_are_published_by_an_action(editor, workspace, workflow):
    save(editor, workflow, description="Second")
    editor.post(add_page_of(Workflow), {**NEW, "workspace": str(workspace.pk)})
    keys = [str(key) for key in Workflow.objects.values_list("pk", flat=True)]
    editor.post(list_of(Workflow), {"action": "publish_selected", "_selected_action": keys})
    numbers = Workflow.objects.values_list("name", "published_version__number")
    assert dict(numbers) == {"Deploy": 2, "Fresh": 1}


def test_a_draft_is_exported_as_json_and_yaml(editor, workflow):
    text = {"metadata": {"looks like a number": "1e5", "too": "-0", "word": "no"}}
    replace_draft(workflow, {**draft_document(workflow), **text}, user=None)
    expected = draft_document(Workflow.objects.get())
    for kind in ("json", "yaml"):
        response = editor.get(f"{page_of(workflow, 'export')}?format={kind}")
        assert f'filename="deploy.{kind}"' in response["Content-Disposition"]
        assert load_document(response.content, kind) == expected


def test_several_are_exported_as_an_archive(editor, workspace, workflow):
    editor.post(add_page_of(Workflow), {**NEW, "workspace": str(workspace.pk)})
    keys = [str(key) for key in Workflow.objects.values_list("pk", flat=True)]
    data = {"action": "export_selected", "_selected_action": keys}
    response = editor.post(list_of(Workflow), data)
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        names = {json.loads(archive.read(name))["name"] for name in archive.namelist()}
    assert names == {"Deploy", "Fresh"}


def test_a_workflow_with_live_runs_is_not_deleted(editor, users, workflow):
    start_execution(
        workflow, input_variables={"task_description": "x"}, user=users["operator"], door="api"
    )
    page = editor.get(page_of(workflow, "delete")).content.decode()
    assert "Deploy, run 1" in page
    editor.post(page_of(workflow, "delete"), {"post": "yes"})
    assert Workflow.objects.exists()


def test_a_workflow_is_deleted_with_its_ended_runs(editor, users, workflow):
    run = start_execution(
        workflow, input_variables={"task_description": "x"}, user=users["operator"], door="api"
    )
    publish(workflow, user=users["editor"])
    editor.post(page_of(run, "cancel"), {"reason": ""})
    assert is_saved(editor.post(page_of(workflow, "delete"), {"post": "yes"}))
    assert not Workflow.objects.exists()
    assert not WorkflowExecution.objects.exists()
