"""The pages of workflows: the list, one workflow, its start form, its draft."""

from datetime import timedelta

import pytest

from tests.pages import html, row_titles, text
from workflows.models import Workflow, WorkflowExecution, WorkflowSchedule
from workflows.services.definitions import create_workflow, draft_document, replace_draft

pytestmark = pytest.mark.django_db

VARIABLES = [
    {"name": "task", "data_type": "string", "is_required": True, "description": "What to do."},
    {"name": "limit", "data_type": "int", "default_value": 60},
    {"name": "share", "data_type": "float"},
    {"name": "dry_run", "data_type": "bool"},
    {"name": "labels", "data_type": "json", "default_value": {"team": "web"}},
]


@pytest.fixture
def typed(workspace, users):
    """A workflow with a variable of each type."""
    step = {"name": "work", "step_type": "task", "config": {"task": "transform"}}
    document = {"name": "Typed", "variables": VARIABLES, "steps": [step]}
    return create_workflow(workspace=workspace, document=document, user=users["editor"])


def url(workflow):
    return f"/workflows/{workflow.pk}/"


def post(client, workflow, **values):
    posted = {f"var-{name}": value for name, value in values.items()}
    return client.post(f"{url(workflow)}start/", posted)


class TestList:
    def test_workflows_stand_by_name(self, client_for, workflow, typed):
        answer = client_for("viewer").get("/workflows/")
        assert row_titles(answer) == ["Deploy", "Typed"]
        assert "Version 1" in html(answer)

    def test_words_find_them(self, client_for, workflow, typed):
        viewer = client_for("viewer")
        assert "Typed" not in html(viewer.get("/workflows/?q=deploy"))
        assert "No workflow matches" in html(viewer.get("/workflows/?q=zebra"))
        assert viewer.get("/workflows/", {"q": "\x00"}).status_code == 200

    def test_another_workspace_is_not_seen(self, client, workflow, outsider):
        client.force_login(outsider, "django.contrib.auth.backends.ModelBackend")
        assert "There is no workflow yet" in html(client.get("/workflows/"))
        assert client.get(url(workflow)).status_code == 404
        assert client.post(f"{url(workflow)}start/").status_code == 404
        assert client.post(f"{url(workflow)}publish/").status_code == 404


class TestStarting:
    def test_the_form_has_a_field_for_each_variable(self, client_for, typed):
        page = html(client_for("operator").get(url(typed)))
        for variable in VARIABLES:
            assert f'name="var-{variable["name"]}"' in page
        assert "What to do." in page
        assert 'value="60"' in page
        assert "{&quot;team&quot;: &quot;web&quot;}" in page

    def test_it_starts_a_run_with_typed_values(self, client_for, typed, users):
        answer = post(
            client_for("operator"),
            typed,
            task="Deploy",
            limit="5",
            share="0.5",
            dry_run="true",
            labels="[1]",
        )
        run = WorkflowExecution.objects.get()
        assert answer["Location"] == f"/executions/{run.pk}/"
        assert run.started_by == users["operator"]
        assert run.started_through == "page"
        assert run.input_variables == {
            "task": "Deploy",
            "limit": 5,
            "share": 0.5,
            "dry_run": True,
            "labels": [1],
        }

    def test_empty_fields_leave_the_defaults(self, client_for, typed):
        post(client_for("operator"), typed, task="Deploy", limit="", labels="")
        assert WorkflowExecution.objects.get().input_variables == {"task": "Deploy"}

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"task": " "}, "This is required."),
            ({"limit": "five"}, "Enter a whole number."),
            ({"limit": "1.5"}, "Enter a whole number."),
            ({"limit": "true"}, "Enter a whole number."),
            ({"limit": "1_000"}, "Enter a whole number."),
            ({"limit": "٣"}, "Enter a whole number."),
            ({"share": "NaN"}, "Enter a number."),
            ({"share": "1e400"}, "Enter a number."),
            ({"dry_run": "maybe"}, "Choose yes or no."),
            ({"labels": "{"}, "Enter JSON"),
            ({"labels": '{"a": 1, "a": 2}'}, "Enter JSON"),
        ],
    )
    def test_what_is_wrong_is_said_beside_it_and_the_rest_is_kept(
        self, client_for, typed, wrong, words
    ):
        given = {"task": "Kept </textarea>", "limit": "7", **wrong}
        answer = post(client_for("operator"), typed, **given)
        page = html(answer)
        assert answer.status_code == 400
        assert words in page
        assert 'aria-invalid="true"' in page
        if "task" not in wrong:
            assert "Kept &lt;/textarea&gt;" in page
        assert not WorkflowExecution.objects.exists()

    def test_what_cannot_be_stored_is_refused_by_the_service(self, client_for, typed):
        answer = post(client_for("operator"), typed, task="a\x00b")
        assert answer.status_code == 400
        assert "Nothing was started." in html(answer)

    def test_a_viewer_may_not(self, client_for, typed):
        viewer = client_for("viewer")
        assert "needs the role operator" in html(viewer.get(url(typed)))
        assert post(viewer, typed, task="x").status_code == 403

    def test_get_starts_nothing(self, client_for, typed):
        assert client_for("operator").get(f"{url(typed)}start/").status_code == 405


class TestDraft:
    def test_what_the_draft_changes_is_marked(self, client_for, workflow, users):
        document = draft_document(workflow)
        document["steps"].append(
            {"name": "announce", "step_type": "task", "config": {"task": "transform"}}
        )
        gate = document["steps"][1]["config"]["approval"]
        gate["auto_approve_after_seconds"] = 1_800
        replace_draft(workflow, document, user=users["editor"])
        page = html(client_for("editor").get(url(workflow)))
        assert "Draft, 2 changes" in page
        assert "</span>task transform</div>" in page
        assert "<del>3600</del>" in page
        assert "<ins>1800</ins>" in page
        assert "Publish version 2" in page

    def test_a_change_far_into_a_long_text_is_marked(self, client_for, workspace, users):
        def prompting(word):
            inputs = {"prompt": "y" * 2_500 + f" {word} ask"}
            config = {"task": "transform", "inputs": inputs}
            return {"name": "Long", "steps": [{"name": "a", "step_type": "task", "config": config}]}

        made = create_workflow(
            workspace=workspace, document=prompting("never"), user=users["editor"]
        )
        replace_draft(made, prompting("always"), user=users["editor"])
        page = html(client_for("editor").get(url(made)))
        assert "<del>never</del> ask" in page
        assert "<ins>always</ins> ask" in page

    def test_without_changes_there_is_nothing_to_publish(self, client_for, workflow):
        assert "Publish version" not in html(client_for("editor").get(url(workflow)))

    def test_publishing_makes_the_next_version(self, client_for, workflow, users):
        document = {**draft_document(workflow), "description": "Better"}
        draft = replace_draft(workflow, document, user=users["editor"])
        sent = {"draft_revision": draft.draft_revision}
        answer = client_for("editor").post(f"{url(workflow)}publish/", sent, follow=True)
        assert "Version 2 is live" in html(answer)
        assert Workflow.objects.get(pk=workflow.pk).published_version.number == 2

    def test_a_draft_that_changed_meanwhile_is_not_published(self, client_for, workflow, users):
        replace_draft(workflow, {**draft_document(workflow), "description": "B"}, user=None)
        sent = {"draft_revision": workflow.draft_revision}
        answer = client_for("editor").post(f"{url(workflow)}publish/", sent, follow=True)
        assert "Nothing was published." in html(answer)
        assert Workflow.objects.get(pk=workflow.pk).published_version.number == 1

    def test_an_operator_may_not_publish(self, client_for, workflow):
        assert client_for("operator").post(f"{url(workflow)}publish/").status_code == 403

    def test_an_unpublished_workflow_says_so(
        self, client_for, workspace, users, agents, example_definition
    ):
        draft = create_workflow(
            workspace=workspace, document=example_definition, user=users["editor"], publish=False
        )
        page = html(client_for("editor").get(url(draft)))
        assert "Draft, never published" in page
        assert "Publish version 1" in page
        assert "Runs start from a published version." in page
        assert post(client_for("operator"), draft).status_code == 400

    def test_steps_inside_blocks_are_compared_by_their_names(self, client_for, workspace, users):
        inner = [
            {"name": f"part_{i}", "step_type": "task", "config": {"task": "transform"}}
            for i in (1, 2)
        ]
        block = {"name": "parts", "step_type": "parallel", "config": {"steps": inner[:1]}}
        document = {"name": "Blocks", "steps": [block]}
        blocks = create_workflow(workspace=workspace, document=document, user=users["editor"])
        out = {**inner[0], "depends_on_steps": ["parts"]}
        block = {**block, "config": {"steps": inner[1:]}}
        replace_draft(blocks, {**document, "steps": [block, out]}, user=users["editor"])
        page = html(client_for("editor").get(url(blocks)))
        assert "Draft, 2 changes" in page
        assert "part_2: Added" in page
        assert "part_1: Moved" in page
        assert "</span>in parts, first</div>" in page
        assert "</span>in no block, after parts</div>" in page

    def test_what_is_doubtful_in_the_draft_is_said(self, client_for, workflow):
        page = html(client_for("viewer").get(url(workflow)))
        assert "No errors, 1 warning" in page
        assert "approves itself after 3600 s" in page


class TestRunsAndVersions:
    def test_it_says_how_the_runs_went(self, client_for, workflow, start):
        for status in ("completed", "completed", "failed"):
            run = start()
            WorkflowExecution.objects.filter(pk=run.pk).update(
                status=status,
                started_at=run.created_at,
                completed_at=run.created_at + timedelta(seconds=90),
                active_seconds=60,
                wake_at=None,
            )
        words = text(client_for("viewer").get(url(workflow)))
        assert "Runs, 30 days 3 Completed 2, 67 % Running time, median 1 min 00 s" in words

    def test_schedules_are_listed(self, client_for, workflow):
        WorkflowSchedule.objects.create(
            workflow=workflow, name="Nightly", cron="0 2 * * *", last_error="It was refused"
        )
        words = text(client_for("viewer").get(url(workflow)))
        assert "Nightly Active 0 2 * * * UTC" in words
        assert "It was refused" in words

    def test_the_latest_runs_are_listed(self, client_for, workflow, start):
        run = start()
        page = html(client_for("viewer").get(url(workflow)))
        assert f'href="/executions/{run.pk}/"' in page
        headers = {"X-MGX-Region": "runs"}
        region = html(client_for("viewer").get(url(workflow), headers=headers))
        assert 'data-live-region="runs"' in region
        assert "<html" not in region
