"""Definitions over REST."""

import json
from io import StringIO

import pytest
import yaml
from django.core.management import call_command
from jsonschema import Draft202012Validator

from workflows.models import Project, Workflow, WorkflowExecution

pytestmark = pytest.mark.django_db

URL = "/api/v1/workflows/"


@pytest.fixture
def document(example_definition, agents):
    return example_definition


@pytest.fixture
def editor(api):
    return api("editor")


def create(client, document, **extra):
    return client.post(URL, {"workspace": "acme", **document}, format="json", **extra)


def task(name, after=(), **config):
    return {
        "name": name,
        "step_type": "task",
        "depends_on_steps": list(after),
        "config": {"task": "transform", **config},
    }


class TestCreating:
    def test_a_document_becomes_a_published_workflow(self, editor, document):
        answer = create(editor, document)
        assert answer.status_code == 201, answer.content
        made = answer.json()
        assert answer["Location"].endswith(f"{URL}{made['id']}/")
        assert answer["ETag"] == '"1"'
        assert made["published_version"] == 1
        assert made["workspace"] == "acme"
        read = editor.get(answer["Location"]).json()
        assert read == made
        assert [step["name"] for step in read["steps"]] == [
            "generate_plan",
            "approval_gate",
            "execute_plan",
        ]

    def test_a_draft_is_not_published(self, editor, document):
        assert create(editor, {**document, "draft": True}).json()["published_version"] is None

    def test_the_only_workspace_need_not_be_named(self, editor, document):
        assert editor.post(URL, document, format="json").json()["workspace"] == "acme"

    def test_who_has_several_names_one(self, editor, users, other_workspace, document):
        users["editor"].memberships.create(workspace=other_workspace, role="editor")
        answer = editor.post(URL, document, format="json")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == "/workspace"

    def test_it_can_belong_to_a_project(self, editor, document, workspace):
        project = Project.objects.create(workspace=workspace, name="Web", slug="web")
        for index, name in enumerate(("web", str(project.id))):
            body = {**document, "name": f"n{index}", "project": name}
            assert create(editor, body).json()["project_id"] == str(project.id)
        assert create(editor, {**document, "project": "nowhere"}).status_code == 404

    def test_every_problem_is_told_with_its_pointer(self, editor, document):
        document["steps"][0]["timeout_seconds"] = "5"
        document["steps"][2]["depends_on_steps"] = ["approval_gate", "execute_plan"]
        answer = create(editor, document)
        assert answer.status_code == 400
        assert answer.json()["code"] == "invalid_definition"
        pointers = {error["pointer"] for error in answer.json()["errors"]}
        assert {"/steps/0/timeout_seconds", "/steps/2/depends_on_steps/1"} <= pointers
        assert not Workflow.objects.exists()

    @pytest.mark.parametrize("value", [-1, 0, 1e12, "5", True, 1.5])
    def test_a_timeout_is_a_number_of_seconds(self, editor, document, value):
        answer = create(editor, {**document, "timeout_seconds": value})
        assert answer.status_code == 400
        assert "/timeout_seconds" in [error["pointer"] for error in answer.json()["errors"]]

    @pytest.mark.parametrize("name", ["", " ", "a\u202eb", "a\u200bb", "x" * 201, 5, None])
    def test_a_name_can_be_seen(self, editor, document, name):
        answer = create(editor, {**document, "name": name})
        assert answer.status_code == 400
        assert "/name" in [error["pointer"] for error in answer.json()["errors"]]

    @pytest.mark.parametrize("key", ["id", "workspace_id", "published_version", "created_by", "x"])
    def test_what_is_not_to_be_set_is_refused(self, editor, document, key):
        answer = create(editor, {**document, key: "1"})
        assert answer.status_code == 400
        assert f"/{key}" in [error["pointer"] for error in answer.json()["errors"]]

    def test_a_taken_name_is_409(self, editor, document):
        create(editor, document)
        answer = create(editor, document)
        assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")

    @pytest.mark.parametrize("role", ["viewer", "operator", "approver"])
    def test_it_takes_an_editor(self, api, document, role):
        answer = create(api(role), document)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert answer.json()["required_role"] == "editor"


class TestEditing:
    @pytest.fixture
    def url(self, workflow):
        return f"{URL}{workflow.id}/"

    def test_put_replaces_the_whole_draft(self, editor, url, document):
        answer = editor.put(url, {**document, "description": "New"}, format="json")
        assert answer.status_code == 200, answer.content
        assert answer["ETag"] == '"2"'
        assert answer.json()["description"] == "New"
        assert answer.json()["published_version"] == 1
        assert editor.put(url, {"name": "x"}, format="json").status_code == 400

    def test_patch_replaces_what_is_given(self, editor, url):
        before = editor.get(url).json()
        answer = editor.patch(url, {"timeout_seconds": 60}, format="json")
        changed = {"timeout_seconds": 60, "draft_revision": 2}
        after = answer.json()
        after.pop("updated_at"), before.pop("updated_at")
        assert after == {**before, **changed}

    def test_what_was_read_can_be_written_back(self, editor, url, document):
        read = editor.get(url).json()
        body = {key: read[key] for key in ("name", "steps", "variables", "config", "metadata")}
        again = editor.put(url, body, format="json").json()
        assert again["steps"] == read["steps"]

    def test_if_match_refuses_what_was_changed_meanwhile(self, editor, url):
        tag = editor.get(url)["ETag"]
        body = {"description": "Mine"}
        assert editor.patch(url, body, format="json", HTTP_IF_MATCH=tag).status_code == 200
        answer = editor.patch(url, body, format="json", HTTP_IF_MATCH=tag)
        assert (answer.status_code, answer.json()["code"]) == (412, "stale_revision")
        assert answer.json()["revision"] == 2
        for wrong in ('"x"', "5", '"1", "2"'):
            assert editor.patch(url, body, format="json", HTTP_IF_MATCH=wrong).status_code == 412
        for right in ('"2"', "*"):
            answer = editor.patch(url, body, format="json", HTTP_IF_MATCH=right)
            assert answer.status_code == 200

    def test_a_stale_revision_in_the_body_is_409(self, editor, url):
        body = {"description": "Mine", "draft_revision": 1}
        assert editor.patch(url, body, format="json").status_code == 200
        answer = editor.patch(url, body, format="json")
        assert (answer.status_code, answer.json()["code"]) == (409, "stale_revision")
        body["draft_revision"] = "2"
        assert editor.patch(url, body, format="json").status_code == 400

    def test_if_match_counts_beside_the_body(self, editor, url):
        def patch(tag, revision):
            body = {"description": f"{tag} {revision}", "draft_revision": revision}
            return editor.patch(url, body, format="json", HTTP_IF_MATCH=tag)

        assert patch('"1"', 1).status_code == 200
        for tag, revision in (('"999"', 2), ('"2"', 1), ('"1"', 1), ('"x"', 2)):
            answer = patch(tag, revision)
            assert (answer.status_code, answer.json()["code"]) == (412, "stale_revision")
        assert patch("*", 1).status_code == 409
        assert editor.get(url).json()["description"] == '"1" 1'
        stale = {"draft_revision": 2}
        answer = editor.post(f"{url}publish/", stale, format="json", HTTP_IF_MATCH='"1"')
        assert answer.status_code == 412
        assert editor.get(url).json()["published_version"] == 1

    def test_if_match_keeps_from_deletion_what_was_changed_meanwhile(self, editor, url):
        tag = editor.get(url)["ETag"]
        assert editor.patch(url, {"description": "Theirs"}, format="json").status_code == 200
        answer = editor.delete(url, HTTP_IF_MATCH=tag)
        assert (answer.status_code, answer.json()["revision"]) == (412, 2)
        assert editor.delete(url, HTTP_IF_MATCH='"2"').status_code == 204

    def test_another_workspace_cannot_be_given(self, editor, url, other_workspace):
        answer = editor.patch(url, {"workspace": "globex"}, format="json")
        assert answer.status_code == 400

    def test_publishing_makes_the_next_version(self, editor, url, workflow):
        assert editor.post(f"{url}publish/").json()["number"] == 1
        editor.patch(url, {"description": "New"}, format="json")
        stale = editor.post(f"{url}publish/", HTTP_IF_MATCH='"1"')
        assert stale.status_code == 412
        published = editor.post(f"{url}publish/", HTTP_IF_MATCH='"2"')
        assert published.status_code == 200
        assert published.json()["number"] == 2
        assert published.json()["definition"]["description"] == "New"
        versions = editor.get(f"{url}versions/").json()["results"]
        assert [version["number"] for version in versions] == [2, 1]
        assert editor.get(url).json()["published_version"] == 2
        assert editor.post(f"{url}publish/", {"x": 1}, format="json").status_code == 400

    def test_deleting_is_refused_while_a_run_is_live(self, editor, url, workflow):
        run = WorkflowExecution.objects.create(
            workspace=workflow.workspace,
            workflow=workflow,
            version=workflow.published_version,
            number=1,
        )
        answer = editor.delete(url)
        assert (answer.status_code, answer.json()["code"]) == (409, "has_live_executions")
        WorkflowExecution.objects.filter(pk=run.pk).update(
            status="completed", completed_at=workflow.created_at
        )
        assert editor.delete(url).status_code == 204
        assert editor.get(url).status_code == 404

    @pytest.mark.parametrize("role", ["viewer", "operator", "approver"])
    def test_it_takes_an_editor(self, api, url, document, role):
        client = api(role)
        for answer in (
            client.put(url, document, format="json"),
            client.patch(url, {}, format="json"),
            client.delete(url),
            client.post(f"{url}publish/"),
        ):
            assert answer.status_code == 403
        assert client.get(url).status_code == 200


class TestFiles:
    @pytest.mark.parametrize("form", ["yaml", "json"])
    def test_what_is_exported_can_be_imported(self, editor, workflow, form):
        url = f"{URL}{workflow.id}/"
        text = editor.get(f"{url}export/?format={form}").content.decode()
        text = text.replace("Deploy", "Deploy again", 1)
        body = {"workspace": "acme", "format": form, "text": text}
        made = editor.post(f"{URL}import/", body, format="json")
        assert made.status_code == 201, made.content
        assert made.json()["steps"] == editor.get(url).json()["steps"]
        assert made.json()["published_version"] == 1

    @pytest.mark.parametrize("form", ["yaml", "json"])
    def test_the_file_itself_can_be_sent(self, editor, workflow, form):
        url = f"{URL}{workflow.id}/"
        file = editor.get(f"{url}export/?format={form}").content.replace(b"Deploy", b"Again", 1)
        address = f"{URL}import/?workspace=acme&draft=true"
        made = editor.generic("POST", address, file, content_type=f"application/{form}")
        assert made.status_code == 201, made.content
        assert made.json()["steps"] == editor.get(url).json()["steps"]
        assert made.json()["published_version"] is None

    def test_what_stands_beside_a_file_is_in_the_address(self, editor, document):
        for body, query, pointer in (
            ({**document, "draft": True}, "", "/draft"),
            ({**document, "text": ""}, "", "/text"),
            (document, "?draft=maybe", "/draft"),
            (document, "?format=json", "/format"),
        ):
            answer = editor.post(f"{URL}import/{query}", body, format="json")
            assert answer.status_code == 400
            assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]

    def test_a_file_may_be_longer_than_another_body(self, editor, settings):
        steps = [task(f"s{number}") for number in range(40)]
        made = create(editor, {"name": "Long", "steps": steps})
        files = {
            form: editor.get(f"{URL}{made.json()['id']}/export/?format={form}").content
            for form in ("yaml", "json")
        }
        settings.MGX_MAX_BODY_BYTES = 1_000
        assert create(editor, {"name": "Other", "steps": steps}).status_code == 413
        for form, file in files.items():
            for body in (
                file.replace(b"Long", form.encode()),
                json.dumps({"format": form, "text": file.decode().replace("Long", f"{form} 2")}),
            ):
                is_file = isinstance(body, bytes)
                kind = f"application/{form if is_file else 'json'}"
                answer = editor.generic("POST", f"{URL}import/", body, content_type=kind)
                assert answer.status_code == 201, answer.content

    @pytest.mark.parametrize("form", ["yaml", "json"])
    def test_a_round_trip_changes_nothing(self, editor, workflow, form):
        config = {"inputs": {"text": "no", "null": None, "n": 1e5, "list": ["1e5", {"~": True}]}}
        retried = {"retry": {"initial_seconds": 0.5}, "fallback": {"output": {"by": None}}}
        inner = [task("check", **config, **retried), task("note", after=["check"], queue="slow")]
        every = [
            {"name": "fan", "step_type": "parallel",
             "config": {"steps": inner, "for_each": [1, None, "x"], "max_concurrency": 2}},
            {"name": "loop", "step_type": "sequential", "depends_on_steps": ["fan"],
             "config": {"repeat_until": "true", "steps": [task("once", **config)]}},
            {"name": "which", "step_type": "condition", "condition_expression": "1 < 2",
             "config": {"branches": {"true": ["rest"]}, "default": ["sub"]}},
            {"name": "rest", "step_type": "wait", "depends_on_steps": ["which"],
             "config": {"seconds": 0.5}, "metadata": {"a": [None]}},
            {"name": "sub", "step_type": "workflow", "depends_on_steps": ["which"],
             "timeout_seconds": 5, "config": {"workflow": "Deploy"}},
        ]  # fmt: skip
        made = create(editor, {"name": "Every", "steps": every, "metadata": {"0": "0123"}})
        assert made.status_code == 201, made.content
        url = f"{URL}{made.json()['id']}/"
        exported = editor.get(f"{url}export/?format={form}").content.decode()
        renamed = exported.replace("Every", "Other")
        body = {"workspace": "acme", "format": form, "text": renamed}
        again = editor.post(f"{URL}import/", body, format="json")
        assert again.status_code == 201, again.content
        other = f"{URL}{again.json()['id']}/"
        assert editor.get(f"{other}export/?format={form}").content.decode() == renamed
        one, two = (
            editor.get(f"{each}versions/").json()["results"][0]["definition"]
            for each in (url, other)
        )
        assert {**two, "name": "Every"} == one

    def test_an_export_is_a_file(self, editor, workflow):
        answer = editor.get(f"{URL}{workflow.id}/export/")
        assert answer["Content-Type"].startswith("application/yaml")
        assert "attachment" in answer["Content-Disposition"]
        assert yaml.safe_load(answer.content)["name"] == "Deploy"
        assert editor.get(f"{URL}{workflow.id}/export/?format=xml").status_code == 400

    @pytest.mark.parametrize("media_type", ["application/yaml", "Application/YAML; charset=utf-8"])
    def test_yaml_itself_can_be_sent(self, editor, document, media_type):
        answer = editor.generic(
            "POST",
            f"{URL}import/?workspace=acme&draft=true",
            yaml.safe_dump(document),
            content_type=media_type,
        )
        assert answer.status_code == 201, answer.content
        assert answer.json()["published_version"] is None

    @pytest.mark.parametrize(
        ("query", "pointer"),
        [
            ("draft=1", "/draft"),
            ("draft=True", "/draft"),
            ("draft=", "/draft"),
            ("text=name", "/text"),
            ("publish=false", "/publish"),
        ],
    )
    def test_beside_yaml_the_address_says_what_it_means_or_nothing(
        self, editor, document, query, pointer
    ):
        url, text = f"{URL}import/", yaml.safe_dump(document)
        answer = editor.generic("POST", f"{url}?{query}", text, content_type="application/yaml")
        assert answer.status_code == 400
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert not Workflow.objects.exists()
        made = editor.generic("POST", f"{url}?draft=false", text, content_type="application/yaml")
        assert made.json()["published_version"] == 1

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("a: &a [x]\nb: *a", "alias"),
            ("a: !!python/object:os.system {}", "tag"),
            ("name: x\nname: y", "duplicate_key"),
            ("name: [", "not_yaml"),
            ("- 5", "invalid_definition"),
        ],
    )
    def test_a_text_that_is_none_is_refused(self, editor, agents, text, code):
        answer = editor.post(f"{URL}import/", {"text": text}, format="json")
        assert (answer.status_code, answer.json()["code"]) == (400, code)

    def test_the_picture_is_an_svg_that_runs_nothing(self, editor, document):
        document["steps"][0]["name"] = "<script>alert(1)</script>"
        document["steps"][1]["depends_on_steps"] = [document["steps"][0]["name"]]
        document["steps"][2]["config"]["inputs"] = {}
        made = create(editor, document)
        answer = editor.get(f"{URL}{made.json()['id']}/graph.svg")
        assert answer["Content-Type"] == "image/svg+xml"
        assert answer["Content-Security-Policy"] == "default-src 'none'"
        assert b"<script" not in answer.content
        assert b"approval_gate" in answer.content


class TestValidating:
    def test_a_report_tells_all_and_saves_nothing(self, api, document):
        client = api("viewer")
        good = client.post(f"{URL}validate/", document, format="json")
        assert good.status_code == 200
        assert good.json()["is_valid"] is True
        assert [w["error_type"] for w in good.json()["warnings"]] == ["auto_approve_with_approvers"]
        document["steps"][0]["depends_on_steps"] = ["execute_plan"]
        bad = client.post(f"{URL}validate/", document, format="json").json()
        assert bad["is_valid"] is False
        assert any(
            "generate_plan → approval_gate → execute_plan → generate_plan" in error["message"]
            for error in bad["errors"]
        )
        assert not Workflow.objects.exists()


class TestListing:
    def test_it_can_be_narrowed(self, editor, workspace, workflow, django_assert_max_num_queries):
        project = Project.objects.create(workspace=workspace, name="Web", slug="web")
        Workflow.objects.create(workspace=workspace, name="Other", project=project)

        def names(query):
            return [row["name"] for row in editor.get(f"{URL}?{query}").json()["results"]]

        assert names("") == ["Deploy", "Other"]
        assert names("q=dep") == ["Deploy"]
        assert names("workspace=acme&project=web") == ["Other"]
        assert names(f"project={project.id}") == ["Other"]
        assert names("workspace=nowhere") == []
        assert names("ordering=-name") == ["Other", "Deploy"]
        assert "steps" not in editor.get(URL).json()["results"][0]

    def test_it_asks_no_more_for_more_rows(self, editor, workspace, django_assert_num_queries):
        editor.get(URL)
        for index in range(20):
            Workflow.objects.create(workspace=workspace, name=f"w{index}")
            if index in (0, 19):
                with django_assert_num_queries(2):  # the token, the page
                    assert len(editor.get(URL).json()["results"]) == index + 1


def test_large_numbers_stay_exact(editor, workspace, users):
    body = """{"workspace": "acme", "name": "n", "metadata": {"n": 9223372036854775809},
        "steps": [{"name": "a", "step_type": "task", "config": {"task": "transform"}}]}"""
    answer = editor.generic("POST", URL, body, content_type="application/json")
    assert answer.status_code == 201, answer.content
    read = editor.get(f"{URL}{answer.json()['id']}/").content
    assert json.loads(read)["metadata"]["n"] == 9223372036854775809


class TestDifferences:
    @pytest.fixture
    def url(self, workflow):
        return f"{URL}{workflow.id}/"

    @pytest.fixture
    def changed(self, editor, url, document):
        """The workflow with a draft that says something else than its version 1."""
        document["steps"][1]["config"]["approval"]["title"] = "Really?"
        document["steps"].pop()
        assert editor.put(url, document, format="json").status_code == 200
        return document

    TITLE = {
        "kind": "changed",
        "step_name": "approval_gate",
        "path": "/config/approval/title",
        "before": "Approve Deployment Plan",
        "after": "Really?",
    }

    def test_the_draft_is_compared_with_the_version_that_runs(self, api, url, changed):
        answer = api("viewer").get(f"{url}differences/").json()
        assert (answer["from"], answer["to"]) == ("1", "draft")
        title, gone = answer["changes"]
        assert title == self.TITLE
        assert (gone["kind"], gone["step_name"], gone["path"]) == ("removed", "execute_plan", "")
        assert gone["before"]["step_type"] == "agent"
        assert gone["after"] is None

    def test_any_two_can_be_compared(self, editor, url, changed):
        assert editor.post(f"{url}publish/").status_code == 200
        there = editor.get(f"{url}differences/?from=1&to=2").json()["changes"]
        back = editor.get(f"{url}differences/?from=2&to=1").json()["changes"]
        assert [c["kind"] for c in there] == ["changed", "removed"]
        assert [c["kind"] for c in back] == ["changed", "added"]
        assert editor.get(f"{url}differences/?from=2&to=2").json()["changes"] == []
        assert editor.get(f"{url}differences/").json()["changes"] == []

    def test_of_long_texts_the_place_that_differs_is_shown(self, editor, url, document):
        title = document["steps"][1]["config"]["approval"]
        told = []
        for word in ("never", "always"):
            title["description"] = "y" * 2_500 + f" {word} ask"
            assert editor.put(url, document, format="json").status_code == 200
            told = editor.post(f"{url}publish/").json()["changes"]
        (change,) = told
        assert change["before"].startswith("…yyy")
        assert change["before"].endswith(" never ask")
        assert change["after"].endswith(" always ask")

    def test_without_a_version_there_is_only_the_draft(self, editor, document):
        made = create(editor, {**document, "draft": True}).json()
        answer = editor.get(f"{URL}{made['id']}/differences/").json()
        assert answer == {"from": "draft", "to": "draft", "changes": []}

    @pytest.mark.parametrize(("wanted", "code"), [("2", 404), ("x", 400), ("-1", 400), ("", 400)])
    def test_a_version_that_is_none_is_refused(self, editor, url, wanted, code):
        answer = editor.get(f"{url}differences/?from={wanted}")
        assert answer.status_code == code
        if code == 400:
            assert answer.json()["errors"][0]["pointer"] == "/from"

    def test_another_workspace_sees_none(self, outsider, make_api, url):
        assert make_api(outsider).get(f"{url}differences/").status_code == 404

    def test_publishing_tells_what_it_changed(self, editor, url, changed):
        published = editor.post(f"{url}publish/").json()
        assert published["number"] == 2
        assert published["changes"][0] == self.TITLE
        again = editor.post(f"{url}publish/").json()
        assert (again["number"], again["changes"]) == (2, [])

    def test_the_first_version_changes_nothing(self, editor, document):
        made = create(editor, {**document, "draft": True}).json()
        published = editor.post(f"{URL}{made['id']}/publish/").json()
        assert (published["number"], published["changes"]) == (1, [])


def test_the_schema_of_definitions_is_for_every_editor(client, document):
    answer = client.get(f"{URL}schema.json")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/schema+json"
    assert answer["Cache-Control"] == "public, max-age=3600"
    schema = answer.json()
    assert schema["$id"] == f"{URL}schema.json"
    Draft202012Validator(schema).validate(document)
    out = StringIO()
    call_command("definition_schema", stdout=out)
    assert json.loads(out.getvalue()) == schema
