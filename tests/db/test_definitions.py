"""Drafts and versions."""

import pytest

from workflows.core.definition import parse_definition
from workflows.errors import Conflict, InvalidInput, NotPermitted, NotVisible, StaleRevision
from workflows.models import (
    Workflow,
    WorkflowExecution,
    WorkflowStep,
    WorkflowVariable,
    WorkflowVersion,
)
from workflows.policies import FORBID_AUTO_APPROVAL
from workflows.services.definitions import (
    create_workflow,
    definition_limits,
    delete_workflow,
    draft_document,
    publish,
    replace_draft,
    validate_document,
)

pytestmark = pytest.mark.django_db

FULL_DOCUMENT = {
    "name": "Everything",
    "description": "All keys there are",
    "timeout_seconds": 60,
    "max_retries": 0,
    "config": {"fail_fast": True},
    "metadata": {"owner": "ops", "n": 2**53 + 1},
    "variables": [
        {
            "name": "n",
            "data_type": "int",
            "is_required": False,
            "default_value": 0,
            "description": "How many",
        },
        {
            "name": "text",
            "data_type": "string",
            "is_required": True,
            "default_value": None,
            "description": "",
        },
    ],
    "steps": [
        {
            "name": "look",
            "description": "Reads only",
            "step_type": "task",
            "step_order": 0,
            "depends_on_steps": [],
            "trigger_rule": "all_success",
            "timeout_seconds": 5,
            "max_retries": 0,
            "config": {"task": "transform", "inputs": {"n": "${n}", "none": None}},
            "metadata": {"colour": "red"},
        },
        {
            "name": "is it many",
            "step_type": "condition",
            "depends_on_steps": ["look"],
            "trigger_rule": "all_done",
            "condition_expression": "n > 3",
            "config": {},
        },
    ],
}


def make(workspace, users, document, **options):
    return create_workflow(workspace=workspace, document=document, user=users["editor"], **options)


def problems_of(refused):
    return [(problem.error_type, problem.path) for problem in refused.value.problems]


@pytest.fixture
def document(example_definition, agents):
    return example_definition


class TestCreating:
    def test_the_example_is_stored_as_it_stands_and_published(self, workspace, users, document):
        workflow = make(workspace, users, document)
        assert workflow.published_version.number == 1
        assert workflow.published_version.published_by == users["editor"]
        assert [step.name for step in workflow.steps.all()] == [
            "generate_plan",
            "approval_gate",
            "execute_plan",
        ]
        assert workflow.steps.get(name="approval_gate").config == document["steps"][1]["config"]

    def test_document_and_rows_are_one_to_one(self, workspace, users):
        workflow = make(workspace, users, FULL_DOCUMENT)
        assert draft_document(Workflow.objects.get(pk=workflow.pk)) == FULL_DOCUMENT

    def test_null_is_the_default(self, workspace, users):
        nulls = dict.fromkeys(("timeout_seconds", "max_retries", "config", "variables"))
        workflow = make(
            workspace,
            users,
            {
                **FULL_DOCUMENT,
                **nulls,
                "steps": [
                    {
                        "name": "a",
                        "step_type": "task",
                        "depends_on_steps": None,
                        "timeout_seconds": None,
                        "trigger_rule": None,
                        "condition_expression": None,
                        "config": {"task": "transform"},
                    }
                ],
            },
        )
        assert (workflow.timeout_seconds, workflow.max_retries) == (3600, 3)
        assert draft_document(workflow)["steps"] == [
            {
                "name": "a",
                "step_type": "task",
                "depends_on_steps": [],
                "trigger_rule": "all_success",
                "config": {"task": "transform"},
            }
        ]

    def test_a_draft_has_no_version(self, workspace, users, document):
        workflow = make(workspace, users, document, publish=False)
        assert workflow.published_version is None
        assert not WorkflowVersion.objects.exists()

    def test_a_version_spells_its_defaults_out_and_can_be_read_again(self, workspace, users):
        workflow = make(workspace, users, FULL_DOCUMENT)
        stored = WorkflowVersion.objects.get().definition
        step = stored["steps"][1]
        assert step["step_order"] == 2
        assert step["config"]["retry"]["backoff"] == "exponential"
        assert stored["steps"][0]["config"]["inputs"] == {"n": "${n}", "none": None}
        assert stored["metadata"]["n"] == 2**53 + 1
        again = parse_definition(stored, definition_limits())
        assert again == validate_document(draft_document(workflow), workspace=workspace).definition

    def test_every_problem_is_told_at_once_and_nothing_is_stored(self, workspace, users, document):
        document["steps"][0]["agent_definition_id"] = "nobody"
        document["steps"][1]["config"]["approval"]["required_approvers"] = ["user123", "ghost"]
        document["steps"][2]["depends_on_steps"] = ["approval_gate", "gone"]
        document["steps"].append(
            {"name": "t", "step_type": "task", "config": {"task": "rm", "inputs": {"x": "${y}"}}}
        )
        with pytest.raises(InvalidInput) as refused:
            make(workspace, users, document)
        assert refused.value.code == "invalid_definition"
        paths = {path for _, path in problems_of(refused)}
        assert {
            "/steps/0/agent_definition_id",
            "/steps/1/config/approval/required_approvers/1",
            "/steps/2/depends_on_steps/1",
            "/steps/3/config/task",
            "/steps/3/config/inputs/x",
        } <= paths
        assert not Workflow.objects.exists()
        assert not WorkflowStep.objects.exists()

    @pytest.mark.parametrize("not_one", [None, [], "text", 5, {}, {"name": "x"}, {"steps": None}])
    def test_what_is_no_definition_is_refused(self, workspace, users, not_one):
        with pytest.raises(InvalidInput):
            make(workspace, users, not_one)

    def test_a_name_stands_once_in_a_workspace(self, workspace, other_workspace, users, outsider):
        make(workspace, users, FULL_DOCUMENT)
        with pytest.raises(Conflict) as refused:
            make(workspace, users, FULL_DOCUMENT)
        assert refused.value.code == "name_taken"
        create_workflow(workspace=other_workspace, document=FULL_DOCUMENT, user=outsider)

    @pytest.mark.parametrize("role", ["viewer", "operator", "approver"])
    def test_it_takes_an_editor(self, workspace, users, role):
        with pytest.raises(NotPermitted):
            create_workflow(workspace=workspace, document=FULL_DOCUMENT, user=users[role])

    def test_a_foreign_workspace_is_not_visible(self, workspace, outsider):
        with pytest.raises(NotVisible):
            create_workflow(workspace=workspace, document=FULL_DOCUMENT, user=outsider)

    def test_more_steps_than_the_settings_allow_are_refused(self, workspace, users, settings):
        settings.MGX_MAX_STEPS = 1
        with pytest.raises(InvalidInput) as refused:
            make(workspace, users, FULL_DOCUMENT)
        assert problems_of(refused) == [("too_many_steps", "/steps")]


class TestAgents:
    def test_an_instance_can_be_named_by_its_id(self, workspace, users, document, agents):
        step = document["steps"][0]
        del step["agent_definition_id"]
        step["agent_instance_id"] = str(agents["planner"].id)
        assert make(workspace, users, document).steps.get(name="generate_plan").agent_instance_id

    @pytest.mark.parametrize("key", ["agent_definition_id", "agent_instance_id"])
    def test_an_agent_of_another_workspace_is_unknown(
        self, workspace, other_workspace, users, document, make_agents, key
    ):
        foreign = make_agents(other_workspace)["planner"]
        step = document["steps"][0]
        del step["agent_definition_id"]
        step[key] = str(foreign.id)
        with pytest.raises(InvalidInput) as refused:
            make(workspace, users, document)
        assert problems_of(refused) == [("unknown_agent", f"/steps/0/{key}")]


class TestApprovers:
    @pytest.mark.parametrize("name", ["ghost", "outsider", "inactive"])
    def test_unknown_foreign_and_inactive_ones_are_refused(
        self, workspace, users, outsider, make_member, document, name
    ):
        idle = make_member("inactive", workspace, "approver")
        idle.is_active = False
        idle.save()
        document["steps"][1]["config"]["approval"]["required_approvers"] = [name]
        with pytest.raises(InvalidInput) as refused:
            make(workspace, users, document)
        assert problems_of(refused) == [
            ("unknown_approver", "/steps/1/config/approval/required_approvers/0")
        ]

    def test_auto_approval_beside_named_approvers_is_accepted_with_a_warning(
        self, workspace, users, document
    ):
        report = validate_document(document, workspace=workspace)
        assert report.is_valid
        assert [w.error_type for w in report.warnings] == ["auto_approve_with_approvers"]

    def test_a_workspace_can_forbid_it(self, workspace, users, document):
        workspace.settings = {FORBID_AUTO_APPROVAL: True}
        workspace.save()
        with pytest.raises(InvalidInput) as refused:
            make(workspace, users, document)
        assert [kind for kind, _ in problems_of(refused)] == ["auto_approve_forbidden"]


class TestEditing:
    @pytest.fixture
    def workflow(self, workspace, users):
        return make(workspace, users, FULL_DOCUMENT)

    def test_a_replaced_draft_leaves_the_version_alone(self, workflow, users, document):
        before = workflow.published_version.definition
        replace_draft(workflow, document, user=users["editor"])
        workflow = Workflow.objects.get()
        assert workflow.name == "Deploy"
        assert workflow.draft_revision == 2
        assert workflow.published_version.number == 1
        assert WorkflowVersion.objects.get().definition == before
        assert WorkflowStep.objects.count() == 3
        assert WorkflowVariable.objects.count() == 1

    def test_an_invalid_draft_changes_nothing(self, workflow, users):
        with pytest.raises(InvalidInput):
            replace_draft(workflow, {**FULL_DOCUMENT, "steps": []}, user=users["editor"])
        assert draft_document(Workflow.objects.get()) == FULL_DOCUMENT
        assert Workflow.objects.get().draft_revision == 1

    def test_a_draft_that_was_changed_meanwhile_is_refused(self, workflow, users):
        replace_draft(workflow, FULL_DOCUMENT, user=users["editor"], expected_revision=1)
        with pytest.raises(StaleRevision) as refused:
            replace_draft(workflow, FULL_DOCUMENT, user=users["editor"], expected_revision=1)
        assert refused.value.facts == {"revision": 2}
        with pytest.raises(StaleRevision):
            publish(workflow, user=users["editor"], expected_revision=1)

    def test_the_name_of_another_workflow_is_taken(self, workspace, workflow, users, document):
        make(workspace, users, document)
        with pytest.raises(Conflict):
            replace_draft(workflow, document, user=users["editor"])
        assert Workflow.objects.get(pk=workflow.pk).name == "Everything"

    @pytest.mark.parametrize("role", ["viewer", "operator", "approver"])
    def test_it_takes_an_editor(self, workflow, users, role):
        for verb in (
            lambda user: replace_draft(workflow, FULL_DOCUMENT, user=user),
            lambda user: publish(workflow, user=user),
            lambda user: delete_workflow(workflow, user=user),
        ):
            with pytest.raises(NotPermitted):
                verb(users[role])


class TestPublishing:
    @pytest.fixture
    def workflow(self, workspace, users):
        return make(workspace, users, FULL_DOCUMENT)

    def test_a_changed_draft_becomes_the_next_version(self, workflow, users):
        replace_draft(workflow, {**FULL_DOCUMENT, "description": "New"}, user=users["editor"])
        version = publish(workflow, user=users["editor"])
        assert version.number == 2
        assert Workflow.objects.get().published_version == version

    def test_an_unchanged_draft_is_the_version_that_is_there(self, workflow, users):
        replace_draft(workflow, {**FULL_DOCUMENT, "description": None}, user=users["editor"])
        replace_draft(workflow, FULL_DOCUMENT, user=users["editor"])
        assert publish(workflow, user=users["editor"]) == workflow.published_version
        assert WorkflowVersion.objects.count() == 1

    def test_going_back_is_a_new_version(self, workflow, users):
        replace_draft(workflow, {**FULL_DOCUMENT, "description": "New"}, user=users["editor"])
        publish(workflow, user=users["editor"])
        replace_draft(workflow, FULL_DOCUMENT, user=users["editor"])
        assert publish(workflow, user=users["editor"]).number == 3

    def test_what_has_gone_since_is_noticed(self, workspace, users, document, agents):
        workflow = make(workspace, users, document, publish=False)
        users["approver"].is_active = False
        users["approver"].save()
        with pytest.raises(InvalidInput):
            publish(workflow, user=users["editor"])
        assert not WorkflowVersion.objects.exists()


class TestDeleting:
    @pytest.fixture
    def workflow(self, workspace, users):
        return make(workspace, users, FULL_DOCUMENT)

    def run(self, workflow, **options):
        return WorkflowExecution.objects.create(
            workspace=workflow.workspace,
            workflow=workflow,
            version=workflow.published_version,
            number=1,
            **options,
        )

    def test_live_runs_prevent_it(self, workflow, users):
        self.run(workflow)
        with pytest.raises(Conflict) as refused:
            delete_workflow(workflow, user=users["editor"])
        assert refused.value.code == "has_live_executions"
        assert Workflow.objects.exists()

    def test_ended_runs_go_with_it(self, workflow, users):
        self.run(workflow, status="cancelled", completed_at="2026-01-01T00:00:00Z")
        delete_workflow(workflow, user=users["editor"])
        for model in (Workflow, WorkflowVersion, WorkflowStep, WorkflowExecution):
            assert not model.objects.exists()

    def test_what_somebody_else_has_deleted_meanwhile_is_not_there(self, workflow, users):
        delete_workflow(Workflow.objects.get(), user=users["editor"])
        for verb in (
            lambda user: replace_draft(workflow, FULL_DOCUMENT, user=user),
            lambda user: publish(workflow, user=user),
            lambda user: delete_workflow(workflow, user=user),
        ):
            with pytest.raises(NotVisible):
                verb(users["editor"])
