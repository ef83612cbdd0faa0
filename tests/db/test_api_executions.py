"""Runs over REST."""

import uuid

import pytest

from workflows.core.ids import step_execution_id
from workflows.events import EventDraft, EventType, append_events
from workflows.models import (
    EventStream,
    Project,
    WorkflowExecution,
    WorkflowStepExecution,
)

pytestmark = pytest.mark.django_db

URL = "/api/v1/executions/"
ENVELOPE = {
    "id",
    "seq",
    "event_type",
    "timestamp",
    "workspace_id",
    "workflow_id",
    "workflow_execution_id",
    "workflow_step_id",
    "approval_id",
    "agent_id",
    "actor",
    "data",
    "message",
}
INPUTS = {"task_description": "Ship it"}


@pytest.fixture
def operator(api, workflow):
    return api("operator")


def start(client, **body):
    body = {"workflow": "Deploy", "workspace": "acme", "input_variables": INPUTS, **body}
    return client.post(URL, body, format="json")


def add_step(run, name, number, **columns):
    return WorkflowStepExecution.objects.create(
        id=step_execution_id(uuid.UUID(run["id"]), name, number),
        execution_id=run["id"],
        name=name,
        step_type="agent",
        revision=number,
        **columns,
    )


class TestStarting:
    def test_by_id_and_by_name(self, operator, workflow):
        for number, named in enumerate((str(workflow.id), "Deploy"), 1):
            answer = start(operator, workflow=named)
            assert answer.status_code == 201, answer.content
            run = answer.json()
            assert answer["Location"].endswith(f"{URL}{run['id']}/")
            assert (run["number"], run["status"], run["version"]) == (number, "pending", 1)
            assert run["started_by"] == "operator"
            assert run["input_variables"] == INPUTS
            assert operator.get(answer["Location"]).json()["number"] == number

    def test_a_project_can_be_named(self, operator, workspace):
        project = Project.objects.create(workspace=workspace, name="Web", slug="web")
        assert start(operator, project="web").json()["project_id"] == str(project.id)
        assert start(operator, project="nowhere").status_code == 404

    @pytest.mark.parametrize(
        ("inputs", "pointer"),
        [
            ({}, "/input_variables/task_description"),
            ({"task_description": 5}, "/input_variables/task_description"),
            ({**INPUTS, "more": 1}, "/input_variables/more"),
            ({"a/b~c": 1, **INPUTS}, "/input_variables/a~1b~0c"),
        ],
    )
    def test_wrong_inputs_are_400_with_their_pointer(self, operator, inputs, pointer):
        answer = start(operator, input_variables=inputs)
        assert answer.status_code == 400
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert not WorkflowExecution.objects.exists()

    def test_a_draft_cannot_be_started(self, operator, workflow):
        workflow.published_version = None
        workflow.save()
        answer = start(operator)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_published")

    def test_what_is_not_there_is_404(self, operator, workflow, other_workspace):
        assert start(operator, workflow="Nothing").status_code == 404
        assert start(operator, workflow=str(uuid.uuid4())).status_code == 404
        assert start(operator, workspace="globex").status_code == 404
        assert start(operator, workflow=str(workflow.id), workspace="x").status_code == 404

    def test_a_viewer_cannot(self, api, workflow):
        assert start(api("viewer")).status_code == 403

    def test_many_start_at_once(self, operator):
        inputs = [{"task_description": f"t{i}"} for i in range(3)]
        body = {"workflow": "Deploy", "input_variables": inputs}
        answer = operator.post(f"{URL}batch/", body, format="json")
        assert answer.status_code == 201, answer.content
        assert [run["number"] for run in answer.json()["results"]] == [1, 2, 3]

    @pytest.mark.parametrize("count", [1, 3])
    def test_many_start_all_or_none(self, operator, count):
        inputs = [INPUTS] * (count - 1) + [{"task_description": 5}]
        body = {"workflow": "Deploy", "input_variables": inputs}
        answer = operator.post(f"{URL}batch/", body, format="json")
        assert answer.status_code == 400
        pointer = f"/input_variables/{count - 1}/task_description"
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert not WorkflowExecution.objects.exists()

    @pytest.mark.parametrize("inputs", [[], [INPUTS] * 1001, INPUTS, [5], None])
    def test_a_batch_is_a_list_of_up_to_a_thousand(self, operator, inputs):
        body = {"workflow": "Deploy", "input_variables": inputs}
        assert operator.post(f"{URL}batch/", body, format="json").status_code == 400


class TestLooking:
    @pytest.fixture
    def run(self, operator):
        return start(operator).json()

    def test_results_and_context(self, operator, run):
        add_step(
            run,
            "generate_plan",
            1,
            status="completed",
            completed_at="2026-01-01T00:00:00Z",
            output_data={"plan": "x"},
        )
        read = operator.get(f"{URL}{run['id']}/").json()
        assert read["results"] == {"generate_plan": {"plan": "x"}}
        assert read["results_complete"] is True
        assert read["context"]["variables"] == INPUTS
        assert read["context"]["execution"]["started_by"] == "operator"

    def test_results_that_are_too_large_are_left_to_the_steps(self, operator, run, monkeypatch):
        from workflows.api import executions

        monkeypatch.setattr(executions, "MAX_RESULT_BYTES", 30)
        for name in ("generate_plan", "execute_plan"):
            add_step(
                run,
                name,
                1,
                status="completed",
                completed_at="2026-01-01T00:00:00Z",
                output_data="x" * 20,
            )
        read = operator.get(f"{URL}{run['id']}/").json()
        assert len(read["results"]) == 1
        assert read["results_complete"] is False

    def test_steps_are_there_before_they_move(self, operator, run):
        gate = add_step(run, "generate_plan", 1, status="running", attempts=2)
        steps = operator.get(f"{URL}{run['id']}/steps/").json()["results"]
        assert [(s["name"], s["status"], s["attempts"]) for s in steps] == [
            ("generate_plan", "running", 2),
            ("approval_gate", "pending", 0),
            ("execute_plan", "pending", 0),
        ]
        assert steps[0]["id"] == str(gate.id)
        for step in steps:
            assert step["id"] == str(step_execution_id(uuid.UUID(run["id"]), step["name"], 1))
            assert step["revision"] == 1

    def test_revisions_stand_beside_each_other_and_pages_join_up(self, operator, run):
        done = {"status": "completed", "completed_at": "2026-01-01T00:00:00Z"}
        for number in (1, 2, 3):
            add_step(run, "generate_plan", number, **done)
        url, seen = f"{URL}{run['id']}/steps/?limit=2", []
        pages = []
        while url:
            page = operator.get(url).json()
            pages.append(page)
            seen += [(step["name"], step["revision"]) for step in page["results"]]
            url = page["next"]
        assert seen == [
            ("generate_plan", 1),
            ("generate_plan", 2),
            ("generate_plan", 3),
            ("approval_gate", 1),
            ("execute_plan", 1),
        ]
        assert pages[0]["previous"] is None
        assert operator.get(pages[1]["previous"]).json()["results"] == pages[0]["results"]

    def test_steps_of_an_ended_run_wait_no_more(self, operator, run):
        operator.post(f"{URL}{run['id']}/cancel/")
        steps = operator.get(f"{URL}{run['id']}/steps/").json()["results"]
        assert {step["status"] for step in steps} == {"cancelled"}

    def test_the_picture_shows_every_status(self, operator, run):
        add_step(run, "generate_plan", 1, status="running")
        answer = operator.get(f"{URL}{run['id']}/graph.svg")
        assert answer["Content-Type"] == "image/svg+xml"
        assert b"is-running" in answer.content
        assert b"is-pending" in answer.content

    def test_lists_are_narrowed(self, operator, run, workflow):
        other = start(operator).json()
        operator.post(f"{URL}{other['id']}/cancel/")

        def numbers(query):
            answer = operator.get(f"{URL}?{query}")
            assert answer.status_code == 200, answer.content
            return [row["number"] for row in answer.json()["results"]]

        assert numbers("") == [2, 1]
        assert numbers("status=pending") == [1]
        assert numbers("status=pending,cancelled") == [2, 1]
        assert numbers(f"workflow={workflow.id}") == [2, 1]
        assert numbers("workflow=Deploy&ordering=number") == [1, 2]
        assert numbers("workflow=Nothing") == []
        assert operator.get(f"{URL}?status=nonsense").status_code == 400

    def test_a_list_is_flat_in_queries(self, operator, django_assert_num_queries):
        operator.get(URL)
        for index in range(10):
            start(operator)
            if index in (0, 9):
                with django_assert_num_queries(2):
                    operator.get(URL)

    def test_looking_at_one_is_flat_in_queries(self, operator, run, django_assert_max_num_queries):
        with django_assert_max_num_queries(3):  # the token, the run, its results
            operator.get(f"{URL}{run['id']}/")
        with django_assert_max_num_queries(4):
            operator.get(f"{URL}{run['id']}/steps/")


class TestCancelling:
    def test_it_ends_the_run_and_says_why(self, operator):
        run = start(operator).json()
        answer = operator.post(f"{URL}{run['id']}/cancel/", {"reason": "Mistake"}, format="json")
        assert answer.status_code == 200
        assert (answer.json()["status"], answer.json()["error_message"]) == ("cancelled", "Mistake")

    def test_again_is_409_with_the_state(self, operator):
        run = start(operator).json()
        operator.post(f"{URL}{run['id']}/cancel/")
        answer = operator.post(f"{URL}{run['id']}/cancel/")
        assert (answer.status_code, answer.json()["code"]) == (409, "already_ended")
        assert answer.json()["current_status"] == "cancelled"

    def test_a_viewer_cannot(self, api, operator):
        run = start(operator).json()
        assert api("viewer").post(f"{URL}{run['id']}/cancel/").status_code == 403


class TestEvents:
    def test_they_resume_after_a_number(self, operator, workspace):
        run = start(operator).json()
        start(operator)
        page = operator.get("/api/v1/events/?workspace=acme&limit=1").json()
        assert [event["seq"] for event in page["results"]] == [1]
        assert page["results"][0]["event_type"] == "workflow_started"
        assert page["last_seq"] == 2
        rest = operator.get(page["next"]).json()
        assert [event["seq"] for event in rest["results"]] == [2]
        assert rest["next"] is None
        assert operator.get("/api/v1/events/?after=2").json()["results"] == []
        own = operator.get(f"{URL}{run['id']}/events/").json()["results"]
        assert [event["workflow_execution_id"] for event in own] == [run["id"]]
        assert set(own[0]) == ENVELOPE
        assert uuid.UUID(own[0]["id"])

    def test_what_is_not_kept_any_more_is_410(self, operator, workspace):
        start(operator)
        EventStream.objects.update(pruned_seq=10, last_seq=20)
        answer = operator.get("/api/v1/events/?after=5")
        assert (answer.status_code, answer.json()["code"]) == (410, "cursor_too_old")
        assert operator.get("/api/v1/events/?after=0").status_code == 200

    @pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 40, "٣"])
    def test_a_cursor_is_a_number(self, operator, after):
        assert operator.get(f"/api/v1/events/?after={after}").status_code == 400

    def test_those_of_other_runs_and_workspaces_stay_out(
        self, operator, workspace, other_workspace
    ):
        from workflows.clock import database_now

        append_events(
            [EventDraft(EventType.WORKFLOW_STARTED, other_workspace.id, message="secret")],
            database_now(),
        )
        assert operator.get("/api/v1/events/").json()["results"] == []
        assert operator.get("/api/v1/events/?workspace=globex").status_code == 404
