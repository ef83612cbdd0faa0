"""The form that starts a run, as a browser reads it."""

import json
import re
from pathlib import Path

import pytest
from django.conf import settings

from tests.db.engine.by_hand import DriverByHand
from tests.db.engine.scenes import Scene, gate, task
from tests.pages import html, ids_used_twice
from workflows.models import WorkflowExecution, WorkflowVersion
from workflows.services.definitions import create_workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def with_variables(workspace, users):
    """Return a function that publishes a workflow with these variables; returns its address."""

    def make(*variables):
        step = {"name": "work", "step_type": "task", "config": {"task": "transform"}}
        document = {"name": "Typed", "variables": list(variables), "steps": [step]}
        made = create_workflow(workspace=workspace, document=document, user=users["editor"])
        return f"/workflows/{made.pk}/"

    return make


def test_names_that_are_nearly_the_same_have_fields_of_their_own(client_for, with_variables):
    names = ("task", "task_", "_task")
    page = client_for("operator").get(with_variables(*({"name": name} for name in names)))
    assert not ids_used_twice(page)
    for name in names:
        labelled = re.search(rf'<label for="([^"]*)">.{{0,300}}name="var-{name}"', html(page))
        assert f'id="{labelled[1]}"' in html(page)


def test_variables_that_read_alike_and_were_published_once_still_have_their_values(
    client_for, workspace, users
):
    scene, hand = Scene(workspace, users), DriverByHand()
    inputs = {"small": "${task}", "large": "${other}"}
    variables = [{"name": "task"}, {"name": "other"}]
    workflow = scene.workflow(task("work", inputs=inputs), variables=variables)
    published = json.dumps(workflow.published_version.definition)
    WorkflowVersion.objects.update(definition=json.loads(published.replace("other", "Task")))
    operator, address = client_for("operator"), f"/workflows/{workflow.pk}/"
    assert not ids_used_twice(operator.get(address))
    operator.post(f"{address}start/", {"var-task": "a", "var-Task": "b"})
    hand.work()
    run = WorkflowExecution.objects.get()
    assert (run.status, run.output_data) == ("completed", {"work": {"small": "a", "large": "b"}})


def test_nobody_has_said_yes_before_they_chose(client_for, with_variables):
    address = with_variables({"name": "sure", "data_type": "bool", "is_required": True})
    operator = client_for("operator")
    select = html(operator.get(address)).partition('name="var-sure"')[2].partition("</select>")[0]
    assert re.findall(r'<option value="(\w*)"', select) == ["", "true", "false"]
    assert "selected" not in select
    assert operator.post(f"{address}start/", {"var-sure": ""}).status_code == 400
    assert not WorkflowExecution.objects.exists()
    operator.post(f"{address}start/", {"var-sure": "false"})
    assert WorkflowExecution.objects.get().input_variables == {"sure": False}


@pytest.mark.parametrize(
    ("of_gate", "of_workspace", "is_said"),
    [(False, False, False), (True, False, True), (False, True, True), (None, True, False)],
)
def test_it_says_whether_who_starts_a_run_can_approve_it(
    client_for, workspace, users, of_gate, of_workspace, is_said
):
    workspace.settings = {"prevent_self_approval": of_workspace}
    workspace.save()
    step = task("work") if of_gate is None else gate(title="?", prevent_self_approval=of_gate)
    workflow = Scene(workspace, users).workflow(step)
    page = html(client_for("operator").get(f"/workflows/{workflow.pk}/"))
    assert ("You cannot approve a run that you start." in page) == is_said


def test_a_text_that_begins_with_a_line_break_keeps_it(client_for, with_variables):
    address = with_variables({"name": "note", "default_value": "\nkept"})
    page = client_for("operator").get(address).content.decode()
    # The one behind the tag is not part of the text.
    assert ">\n\nkept</textarea>" in page


def test_no_field_of_any_page_loses_a_first_line_break():
    templates = [*Path(settings.BASE_DIR, "templates").rglob("*.html")]
    shown = re.compile(r"<textarea(?:{%.*?%}|{{.*?}}|[^>])*>(.*?)</textarea>", re.DOTALL)
    texts = {path: shown.findall(path.read_text()) for path in templates}
    assert sum(map(len, texts.values())) > 5
    for path, found in texts.items():
        assert all(text.startswith("\n") for text in found), path.name
