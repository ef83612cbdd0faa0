import json
import stat
from pathlib import Path

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command

from agents.models import AgentHandoff, AgentInstance, AgentMemoryEntry
from mgx.demo import EXAMPLE, make_demo
from workflows.models import Membership, User, WorkflowExecution
from workflows.services.access import find_token, revoke_token
from workflows.services.executions import cancel_execution

pytestmark = pytest.mark.django_db

URL = "http://127.0.0.1:8000/"


@pytest.fixture(autouse=True)
def on_one_machine(settings, tmp_path: Path) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
    settings.MGX_VAR = tmp_path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "demo.json"


def test_it_makes_a_user_of_each_role_who_can_sign_in(path: Path, rf) -> None:
    make_demo(path, URL)
    document = json.loads(path.read_text())
    assert document["url"] == URL
    assert document["workspace"] == "demo"
    assert set(document["users"]) == {"admin", "approver", "operator", "viewer"}
    assert document["users"]["approver"]["username"] == "user123"
    for role, known in document["users"].items():
        user = authenticate(rf.post("/"), username=known["username"], password=known["password"])
        assert Membership.objects.get(user=user, workspace__slug="demo").role == role
        assert find_token(known["token"]).user == user


def test_only_its_owner_may_read_the_secrets(path: Path) -> None:
    make_demo(path, URL)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_workflow_is_the_missions_own_example(path: Path, example_definition) -> None:
    make_demo(path, URL)
    assert EXAMPLE["steps"] == example_definition["steps"]


def test_it_starts_one_run_and_leaves_it_alone(path: Path) -> None:
    first = make_demo(path, URL).execution
    assert first.started_by.username == "operator"
    assert make_demo(path, URL).execution == first
    cancel_execution(first.pk, user=None)
    assert make_demo(path, URL).execution != first


def test_run_again_it_keeps_every_secret(path: Path) -> None:
    make_demo(path, URL)
    before = json.loads(path.read_text())
    hashes = list(User.objects.order_by("pk").values_list("password", flat=True))
    make_demo(path, "http://127.0.0.1:9000/")
    after = json.loads(path.read_text())
    assert after["users"] == before["users"]
    assert after["url"] == "http://127.0.0.1:9000/"
    assert list(User.objects.order_by("pk").values_list("password", flat=True)) == hashes


def test_a_token_that_has_ended_is_replaced(path: Path) -> None:
    make_demo(path, URL)
    secret = json.loads(path.read_text())["users"]["viewer"]["token"]
    revoke_token(find_token(secret))
    make_demo(path, URL)
    replaced = json.loads(path.read_text())["users"]["viewer"]["token"]
    assert replaced != secret
    assert find_token(replaced) is not None


@pytest.mark.parametrize("content", [None, "", "[]", '{"users": 7}', '{"users": {"admin": {}}}'])
def test_without_the_file_it_makes_new_secrets(path: Path, rf, content: str | None) -> None:
    make_demo(path, URL)
    path.unlink() if content is None else path.write_text(content)
    make_demo(path, URL)
    known = json.loads(path.read_text())["users"]["admin"]
    assert authenticate(rf.post("/"), username="admin", password=known["password"])


def test_it_says_where_to_go(capsys) -> None:
    call_command("demo", url="http://0.0.0.0:8000/")
    said = capsys.readouterr().out
    run = WorkflowExecution.objects.get()
    assert "http://127.0.0.1:8000/\n" in said
    assert f"http://127.0.0.1:8000/executions/{run.pk}/" in said
    assert "user123" in said


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("ALLOWED_HOSTS", ["localhost", "mgx.example.org"], "mgx.example.org"),
        ("ALLOWED_HOSTS", ["*"], "ALLOWED_HOSTS"),
        ("SECURE_SSL_REDIRECT", True, "MGX_HTTPS"),
    ],
)
def test_it_refuses_where_others_can_reach_it(settings, path, setting, value, reason) -> None:
    setattr(settings, setting, value)
    with pytest.raises(CommandError, match=reason):
        call_command("demo")
    assert not User.objects.exists()
    assert not path.exists()


def test_its_agents_have_others_beside_them_and_something_to_remember(path: Path) -> None:
    for _ in range(2):
        make_demo(path, URL)
    agents = AgentInstance.objects.filter(workspace__slug="demo")
    assert agents.filter(definition__slug="planner_agent_id").count() == 2
    copied, original = AgentMemoryEntry.objects.order_by("agent_instance__name")
    assert copied.agent_instance.slug == "executor"
    assert copied.threaded_from == original.agent_instance_id
    assert AgentHandoff.objects.get().to_agent == copied.agent_instance
