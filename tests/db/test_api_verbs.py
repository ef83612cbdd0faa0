"""What can be done with a run over REST."""

import uuid

import pytest

from workflows.clock import database_now
from workflows.models import Signal, WorkflowExecution

pytestmark = pytest.mark.django_db

URL = "/api/v1/executions/"
INPUTS = {"task_description": "Ship it"}
#: Each verb with a body that it takes, and the statuses in which it is possible.
VERBS = {
    "cancel": ({"reason": "Wrong host"}, "pending"),
    "pause": ({"reason": "Wrong host"}, "running"),
    "resume": ({}, "paused"),
    "retry": ({}, "failed"),
    "rerun": ({"input_variables": INPUTS}, "completed"),
    "signals": ({"name": "paid", "data": {"sum": 5}}, "waiting"),
}
verbs = pytest.mark.parametrize("verb", VERBS)


@pytest.fixture
def operator(api, workflow):
    return api("operator")


@pytest.fixture
def run(operator):
    body = {"workflow": "Deploy", "input_variables": INPUTS}
    return operator.post(URL, body, format="json").json()


def stand(run, status):
    """Let a run stand as an engine would have left it."""
    is_live = status in ("pending", "running", "waiting", "paused")
    WorkflowExecution.objects.filter(pk=run["id"]).update(
        status=status,
        is_paused=status == "paused",
        completed_at=None if is_live else database_now(),
        wake_at=None,
    )


def ready(run, verb):
    """Let a run stand so that the verb is possible; return the body to post."""
    body, status = VERBS[verb]
    stand(run, status)
    return body


def post(client, run, verb, body=None, **headers):
    return client.post(f"{URL}{run['id']}/{verb}/", body, format="json", **headers)


@pytest.mark.parametrize(
    ("verb", "status", "then"),
    [
        ("cancel", "running", "cancelled"),
        ("pause", "running", "paused"),
        ("resume", "paused", "waiting"),
        ("retry", "failed", "pending"),
    ],
)
def test_the_answer_is_the_run_as_it_stands_then(operator, run, verb, status, then):
    stand(run, status)
    answer = post(operator, run, verb)
    assert answer.status_code == 200, answer.content
    assert (answer.json()["id"], answer.json()["status"]) == (run["id"], then)
    assert operator.get(f"{URL}{run['id']}/").json()["status"] == then


@pytest.mark.parametrize(
    ("verb", "status", "code"),
    [
        ("cancel", "completed", "already_ended"),
        ("pause", "failed", "already_ended"),
        ("pause", "paused", "already_paused"),
        ("resume", "running", "not_paused"),
        ("resume", "cancelled", "not_paused"),
        ("retry", "completed", "not_failed"),
        ("retry", "paused", "not_failed"),
        ("signals", "completed", "already_ended"),
    ],
)
def test_a_status_that_does_not_allow_it_is_409_and_told(operator, run, verb, status, code):
    stand(run, status)
    answer = post(operator, run, verb, {"name": "paid"} if verb == "signals" else {})
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert answer.json()["current_status"] == status


@verbs
def test_a_viewer_may_not(api, run, verb):
    body = ready(run, verb)
    before = WorkflowExecution.objects.values().get(pk=run["id"])
    answer = post(api("viewer"), run, verb, body)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert WorkflowExecution.objects.values().get() == before


@verbs
def test_what_is_not_the_callers_is_404(make_api, outsider, operator, run, verb):
    body = ready(run, verb)
    assert post(make_api(outsider), run, verb, body).status_code == 404
    assert post(operator, {"id": uuid.uuid4()}, verb, body).status_code == 404


@verbs
def test_a_token_to_read_is_not_enough(make_api, users, run, verb):
    body = ready(run, verb)
    assert post(make_api(users["operator"], ["read"]), run, verb, body).status_code == 403


@verbs
@pytest.mark.parametrize("extra", [{"status": "completed"}, {"user": "admin"}])
def test_a_field_that_is_not_known_is_400(operator, run, verb, extra):
    body = ready(run, verb)
    answer = post(operator, run, verb, {**body, **extra})
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{next(iter(extra))}"]


@verbs
@pytest.mark.parametrize("body", [[], "x", None, 5])
def test_a_body_is_an_object(operator, run, verb, body):
    ready(run, verb)
    answer = operator.generic(
        "POST",
        f"{URL}{run['id']}/{verb}/",
        {"[]": "[]"}.get(str(body), "null" if body is None else f'"{body}"'),
        content_type="application/json",
    )
    assert answer.status_code == 400


@verbs
def test_the_same_call_has_one_effect(operator, run, verb):
    body = ready(run, verb)
    first, again = (post(operator, run, verb, body, HTTP_IDEMPOTENCY_KEY="once") for _ in range(2))
    assert first.status_code == again.status_code < 300
    assert first.content == again.content
    assert again["Idempotent-Replayed"] == "true"
    assert WorkflowExecution.objects.count() == (2 if verb == "rerun" else 1)
    assert Signal.objects.count() == (verb == "signals")


class TestRerunning:
    def test_a_new_run_has_an_address(self, operator, run):
        answer = post(operator, run, "rerun")
        assert answer.status_code == 201
        new = answer.json()
        assert (new["number"], new["status"], new["input_variables"]) == (2, "pending", INPUTS)
        assert (new["rerun_of_id"], run["rerun_of_id"]) == (run["id"], None)
        assert answer["Location"].endswith(f"{URL}{new['id']}/")

    def test_it_may_have_other_inputs(self, operator, run):
        other = {"task_description": "Ship that"}
        new = post(operator, run, "rerun", {"input_variables": other}).json()
        assert new["input_variables"] == other

    @pytest.mark.parametrize(
        ("inputs", "pointer"),
        [
            ({"more": 1, **INPUTS}, "/input_variables/more"),
            ({}, "/input_variables/task_description"),
            ([], "/input_variables"),
            (None, "/input_variables"),
        ],
    )
    def test_wrong_inputs_are_400_with_their_pointer(self, operator, run, inputs, pointer):
        answer = post(operator, run, "rerun", {"input_variables": inputs})
        assert answer.status_code == 400
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert WorkflowExecution.objects.count() == 1


class TestSignals:
    def test_they_are_listed_in_their_order(self, operator, run):
        for number in range(3):
            answer = post(operator, run, "signals", {"name": "paid", "data": number})
            assert answer.status_code == 201, answer.content
            assert set(answer.json()) == {
                "id",
                "name",
                "data",
                "sent_by",
                "received_at",
                "taken_by_step_id",
            }
        page = operator.get(f"{URL}{run['id']}/signals/?limit=2").json()
        assert [signal["data"] for signal in page["results"]] == [0, 1]
        rest = operator.get(page["next"]).json()
        assert [signal["data"] for signal in rest["results"]] == [2]
        assert rest["results"][0]["sent_by"] == "operator"

    def test_a_viewer_may_look(self, api, operator, run):
        post(operator, run, "signals", {"name": "paid"})
        answer = api("viewer").get(f"{URL}{run['id']}/signals/")
        assert [signal["name"] for signal in answer.json()["results"]] == ["paid"]

    def test_those_of_other_runs_stay_out(self, operator, run):
        other = post(operator, run, "rerun").json()
        post(operator, run, "signals", {"name": "paid"})
        assert operator.get(f"{URL}{other['id']}/signals/").json()["results"] == []

    def test_a_list_is_flat_in_queries(self, operator, run, django_assert_num_queries):
        for _ in range(5):
            post(operator, run, "signals", {"name": "paid"})
        with django_assert_num_queries(3):  # the token, the run, its signals
            operator.get(f"{URL}{run['id']}/signals/")

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/name"),
            ({"name": ""}, "/name"),
            ({"name": " paid"}, "/name"),
            ({"name": "a\u200bb"}, "/name"),
            ({"name": "x" * 201}, "/name"),
            ({"name": 5}, "/name"),
            ({"name": None}, "/name"),
        ],
    )
    def test_what_cannot_be_is_400(self, operator, run, body, pointer):
        answer = post(operator, run, "signals", body)
        assert answer.status_code == 400, answer.content
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert not Signal.objects.exists()
