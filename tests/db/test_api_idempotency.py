"""Calls that are repeated."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
from django.db import connection, connections
from rest_framework.test import APIClient

from approvals.models import ApprovalDecision
from mgx.api import urlpatterns
from workflows.api import executions as door
from workflows.api import idempotency
from workflows.models import IdempotencyKey, Workflow, WorkflowExecution
from workflows.services import executions

EXECUTIONS = "/api/v1/executions/"
#: Secrets, which no table keeps the answer with; checks; and calls that are made to be repeated.
WITHOUT_KEY = {
    "agents/<uuid:id>/heartbeat/",
    "tokens/",
    "webhooks/",
    "webhooks/<uuid:id>/rotate/",
    "workspaces/<slug:slug>/signing-secret/",
    "workflows/validate/",
    "receipts/check/",
    "webhooks/<uuid:id>/test/",
    "webhooks/<uuid:id>/deliveries/replay/",
}
START = {"workflow": "Deploy", "input_variables": {"task_description": "x"}}


def post(client, body=START, key="k1", path=EXECUTIONS):
    return client.post(path, body, format="json", HTTP_IDEMPOTENCY_KEY=key)


@pytest.fixture
def operator(api, workflow):
    return api("operator")


@pytest.mark.promise("P14 calls that are repeated")
@pytest.mark.django_db
class TestRepeating:
    def test_the_same_call_gets_the_same_answer_and_one_effect(self, operator):
        first, again = post(operator), post(operator)
        assert first.status_code == again.status_code == 201
        assert again.content == first.content
        assert again["Location"] == first["Location"]
        assert again["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first
        assert WorkflowExecution.objects.count() == 1

    def test_the_order_of_keys_and_the_spaces_say_nothing(self, operator):
        post(operator)
        body = '{ "input_variables": {"task_description": "x"},  "workflow": "Deploy" }'
        again = operator.generic(
            "POST",
            EXECUTIONS,
            body,
            content_type="application/json",
            HTTP_IDEMPOTENCY_KEY="k1",
        )
        assert again.status_code == 201
        assert WorkflowExecution.objects.count() == 1

    def test_another_body_or_address_is_422(self, operator):
        post(operator)
        other = {**START, "input_variables": {"task_description": "y"}}
        for answer in (post(operator, other), post(operator, path=f"{EXECUTIONS}batch/")):
            assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
        assert WorkflowExecution.objects.count() == 1

    def test_keys_belong_to_their_user(self, operator, api):
        post(operator)
        assert post(api("admin")).status_code == 201
        assert WorkflowExecution.objects.count() == 2

    def test_another_key_is_another_call(self, operator):
        post(operator)
        assert post(operator, key="k2").json()["number"] == 2
        assert operator.post(EXECUTIONS, START, format="json").json()["number"] == 3

    def test_a_refused_call_leaves_the_key_free(self, operator):
        assert post(operator, {**START, "input_variables": {}}).status_code == 400
        assert not IdempotencyKey.objects.exists()
        assert post(operator).status_code == 201

    @pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "é"])
    def test_a_key_is_printable_and_short(self, operator, key):
        answer = post(operator, key=key)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")

    def test_every_post_takes_one(self):
        views = {str(p.pattern): getattr(p.callback, "view_class", None) for p in urlpatterns}
        posts = {route: view.post for route, view in views.items() if hasattr(view, "post")}
        without = {route for route, post in posts.items() if not hasattr(post, "is_idempotent")}
        assert len(posts) > 20
        assert without <= WITHOUT_KEY

    def test_every_call_that_starts_decides_or_creates_takes_one(self, api, workflow):
        editor, admin = api("editor"), api("admin")
        task = {"name": "a", "step_type": "task", "config": {"task": "transform"}}
        request = post(api("operator"), {"title": "Deploy?"}, path="/api/v1/approvals/").json()
        approval = f"/api/v1/approvals/{request['id']}/"
        run = post(admin, key="run").json()
        calls = [
            (editor, "/api/v1/workflows/", {"name": "n", "steps": [task]}),
            (editor, "/api/v1/workflows/import/", {"text": "name: m\nsteps: [{name: a, "
             "step_type: task, config: {task: transform}}]"}),
            (editor, f"/api/v1/workflows/{workflow.id}/publish/", {}),
            (admin, f"{EXECUTIONS}batch/", {"workflow": "Deploy", "input_variables": [
                {"task_description": "x"}]}),
            (admin, f"{approval}comments/", {"body": "Hm"}),
            (admin, f"{approval}decisions/", {"outcome": "approved"}),
            (admin, "/api/v1/approvals/decisions/", {"decisions": [
                {"approval_id": request["id"], "outcome": "approved"}]}),
            (admin, f"{EXECUTIONS}{run['id']}/cancel/", {}),
        ]  # fmt: skip
        for number, (client, path, body) in enumerate(calls):
            first = post(client, body, f"call-{number}", path)
            assert first.status_code in (200, 201), (path, first.content)
            again = post(client, body, f"call-{number}", path)
            assert again.content == first.content, path
            assert again["Idempotent-Replayed"] == "true", path


@pytest.mark.promise("P14 crashes before and after the commit of a call")
@pytest.mark.django_db(transaction=True)
class TestCrashes:
    def test_a_crash_before_the_commit_leaves_nothing(self, operator, monkeypatch):
        def crash(*args):
            raise KeyboardInterrupt

        monkeypatch.setattr(idempotency, "_fill", crash)
        with pytest.raises(KeyboardInterrupt):
            post(operator)
        assert not WorkflowExecution.objects.exists()
        monkeypatch.undo()
        assert post(operator).json()["number"] == 1

    def test_a_crash_after_the_commit_changes_nothing_for_the_repeat(self, operator, monkeypatch):
        def crash(*args):
            raise KeyboardInterrupt

        monkeypatch.setattr(idempotency, "_answer", crash)
        with pytest.raises(KeyboardInterrupt):
            post(operator)
        run = WorkflowExecution.objects.get()
        monkeypatch.undo()
        answer = post(operator)
        assert answer.status_code == 201
        assert answer.json()["id"] == str(run.id)
        assert WorkflowExecution.objects.count() == 1

    def test_a_decision_whose_answer_was_lost_is_answered_again(self, api, workflow, monkeypatch):
        request = post(api("operator"), {"title": "Deploy?"}, path="/api/v1/approvals/").json()
        path = f"/api/v1/approvals/{request['id']}/decisions/"

        def crash(*args):
            raise KeyboardInterrupt

        monkeypatch.setattr(idempotency, "_answer", crash)
        with pytest.raises(KeyboardInterrupt):
            post(api("approver"), {"outcome": "approved"}, "k", path)
        decision = ApprovalDecision.objects.get()
        monkeypatch.undo()
        answer = post(api("approver"), {"outcome": "approved"}, "k", path)
        assert (answer.status_code, answer["Idempotent-Replayed"]) == (200, "true")
        assert [d["id"] for d in answer.json()["decisions"]] == [str(decision.id)]
        other = {"outcome": "rejected", "feedback": "No"}
        assert post(api("approver"), other, "k", path).status_code == 422
        assert ApprovalDecision.objects.count() == 1


def _at_once(count, call):
    """Call from that many threads at the same moment; return what they got."""
    barrier = Barrier(count)

    def one(number):
        try:
            barrier.wait()
            return call(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def _same_client(client):
    copy = APIClient()
    copy.credentials(**client._credentials)
    return copy


@pytest.mark.promise("P14 calls with one key at once")
@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_thirty_starts_with_one_key_are_one_run(self, operator):
        answers = _at_once(30, lambda number: post(_same_client(operator)))
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
        for answer in answers:
            if answer.status_code == 409:
                assert answer.json()["code"] == "idempotency_key_in_flight"
        assert WorkflowExecution.objects.count() == 1
        assert Workflow.objects.get().last_run_number == 1

    def test_thirty_decisions_with_one_key_are_one(self, api, workflow):
        request = post(api("operator"), {"title": "Deploy?"}, path="/api/v1/approvals/").json()
        path = f"/api/v1/approvals/{request['id']}/decisions/"
        approver = api("approver")
        answers = _at_once(
            30, lambda number: post(_same_client(approver), {"outcome": "approved"}, "k", path)
        )
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
        for answer in answers:
            if answer.status_code == 409:
                assert answer.json()["code"] == "idempotency_key_in_flight"
        assert ApprovalDecision.objects.count() == 1

    def test_between_processes_one_key_is_one_run(self, operator, monkeypatch):
        """Without the memory that the threads of one process share."""
        monkeypatch.setattr(idempotency, "_only_one", lambda name: _nothing())
        answers = _at_once(12, lambda number: post(_same_client(operator)))
        allowed = {201, 409} if connection.vendor == "postgresql" else {201}
        assert {answer.status_code for answer in answers} <= allowed
        assert WorkflowExecution.objects.count() == 1

    def test_a_call_in_flight_is_409(self, operator, monkeypatch):
        inside, go_on = Event(), Event()
        real = executions.start_execution

        def slow(*args, **kwargs):
            inside.set()
            assert go_on.wait(10)
            return real(*args, **kwargs)

        monkeypatch.setattr(door.executions, "start_execution", slow)

        def call(number):
            if number == 0:
                return post(_same_client(operator))
            assert inside.wait(10)
            try:
                return post(_same_client(operator))
            finally:
                go_on.set()

        first, second = _at_once(2, call)
        assert first.status_code == 201
        assert second.status_code == 409
        assert second.json()["code"] == "idempotency_key_in_flight"


class _nothing:
    def __enter__(self):
        return None

    def __exit__(self, *args):
        return None
