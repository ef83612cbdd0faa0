"""The approver's stories, told by a plain client of REST to the running product."""

import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default as as_message
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

from tests.db.receiver import Receiver, receiving
from tests.process.conftest import fresh_installation
from tests.process.installation import Up, eventually

#: A second approver, two groups, and what they may be asked.
PEOPLE = """
import json
from django.contrib.auth.models import Group
from workflows.models import Membership, User, Workspace
from workflows.services.access import SCOPES, issue_token
workspace = Workspace.objects.get(slug="demo")
mona = User.objects.create_user("mona", "mona@example.org")
Membership.objects.create(workspace=workspace, user=mona, role="approver")
User.objects.filter(username="user123").update(email="user123@example.org")
Group.objects.create(name="ops").user_set.add(User.objects.get(username="user123"))
Group.objects.create(name="security").user_set.add(mona)
print(json.dumps(issue_token(mona, name="stories", scopes=SCOPES)[1]))
"""


class Refused(Exception):
    """What the server refused, with the problem that it told."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(status, problem)
        self.status = status
        self.problem = problem


@dataclass(frozen=True)
class Client:
    """A program with a token."""

    up: Up
    token: str

    def call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310
            f"{self.up.url}/api/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, json.loads(error.read())) from None

    def decide(self, approval: dict[str, Any], outcome: str = "approved", **said: Any) -> Any:
        body = {"outcome": outcome, "digest": approval["digest"], **said}
        return self.call(f"approvals/{approval['id']}/decisions/", body)

    def see(self, approval: dict[str, Any]) -> Any:
        return self.call(f"approvals/{approval['id']}/")


class Cast:
    """The product, and everybody who takes part: by the name of the role, and ``mona``."""

    def __init__(self, up: Up, receiver: Receiver, mail: Path) -> None:
        self.up = up
        self.receiver = receiver
        self.mail = mail
        demo = json.loads((up.installation.directory / "demo.json").read_text())
        tokens = {role: user["token"] for role, user in demo["users"].items()}
        tokens["mona"] = json.loads(up.installation.shell(PEOPLE).splitlines()[-1])
        self._clients = {name: Client(up, token) for name, token in tokens.items()}

    def __getitem__(self, name: str) -> Client:
        return self._clients[name]

    def publish(self, name: str, **approval: Any) -> str:
        """Publish a plan, a gate and its execution; return the name."""
        gate = {"title": f"May {name} go?", **approval}
        steps = [
            _agent("plan", "planner_agent_id", {"task": "${task}"}),
            {
                "name": "gate",
                "step_type": "approval",
                "depends_on_steps": ["plan"],
                "config": {"approval": gate},
            },
            _agent("execute", "executor_agent_id", {"plan": "steps.plan.result"}, "gate"),
        ]
        variables = [{"name": "task", "data_type": "string", "is_required": True}]
        document = {"workspace": "demo", "name": name, "variables": variables, "steps": steps}
        self["admin"].call("workflows/", document)
        return name

    def start(self, workflow: str) -> dict[str, Any]:
        """Start a run and return the request that it waits for."""
        body = {"workspace": "demo", "workflow": workflow, "input_variables": {"task": workflow}}
        return self.gate(self["operator"].call("executions/", body)["id"])

    def gate(self, run: str) -> dict[str, Any]:
        """Wait for the open request of a run."""
        path = f"approvals/?workspace=demo&status=pending&workflow_execution={run}"
        found = eventually(
            lambda: self["viewer"].call(path)["results"], 30, "the gate", self.up.log
        )
        return dict(found[0])

    def ask(self, **body: Any) -> dict[str, Any]:
        return dict(
            self["operator"].call("approvals/", {"workspace": "demo", "title": "Go?", **body})
        )

    def status_of(self, approval: dict[str, Any]) -> str:
        return str(self["viewer"].see(approval)["status"])

    def end_of(self, approval: dict[str, Any]) -> str:
        """Wait for the end of a request's run; return its status."""
        path = f"executions/{approval['workflow_execution_id']}/"
        ended = {"completed", "failed", "cancelled", "timeout"}
        return str(
            eventually(
                lambda: ended & {self["viewer"].call(path)["status"]}, 30, "the end", self.up.log
            ).pop()
        )


def _agent(name: str, definition: str, inputs: dict[str, str], *after: str) -> dict[str, Any]:
    return {
        "name": name,
        "step_type": "agent",
        "agent_definition_id": definition,
        "depends_on_steps": list(after),
        "config": {"inputs": inputs},
    }


@pytest.fixture(scope="module")
def cast(template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    directory = tmp_path_factory.mktemp("stories")
    mail = tmp_path_factory.mktemp("mail")
    with fresh_installation(template, directory) as installation, receiving() as receiver:
        installation.environment["MGX_ALLOWED_INTERNAL_HOSTS"] = receiver.host
        installation.environment["EMAIL_URL"] = f"filemail:///{mail}"
        up = Up(installation, "--demo")
        try:
            up.wait_until_well()
            eventually((directory / "demo.json").exists, 60, "demo.json", up.log)
            yield Cast(up, receiver, mail)
        finally:
            up.end()


def test_approve(cast: Cast) -> None:
    cast.publish("Approve")
    gate = cast.start("Approve")
    answer = cast["approver"].decide(gate, feedback="Fine")
    assert (answer["status"], answer["approved_by"], answer["is_final"]) == (
        "approved",
        "user123",
        True,
    )
    assert cast.end_of(gate) == "completed"


def test_reject(cast: Cast) -> None:
    cast.publish("Reject")
    gate = cast.start("Reject")
    with pytest.raises(Refused) as refused:
        cast["approver"].decide(gate, "rejected")
    assert (refused.value.status, refused.value.problem["errors"][0]["pointer"]) == (
        400,
        "/feedback",
    )
    cast["approver"].decide(gate, "rejected", feedback="The freeze has begun")
    assert cast.end_of(gate) == "failed"


def test_three_revisions(cast: Cast) -> None:
    cast.publish("Revise", max_revisions=3)
    gate = first = cast.start("Revise")
    run = gate["workflow_execution_id"]
    for number in (1, 2, 3):
        feedback = f"Say more, for the time {number}"
        cast["approver"].decide(gate, "request_changes", feedback=feedback)
        earlier, gate = gate, cast.gate(run)
        assert (gate["revision"], gate["parent_approval_id"]) == (number + 1, earlier["id"])
        assert gate["digest"] != earlier["digest"]
        assert feedback in json.dumps(cast["viewer"].see(gate)["approval_data"])
    assert len(cast["viewer"].see(first)["revisions"]) == 4
    with pytest.raises(Refused) as refused:
        cast["approver"].decide(gate, "request_changes", feedback="Once more")
    assert (refused.value.status, refused.value.problem["code"]) == (409, "revision_limit")
    cast["approver"].decide(gate)
    assert cast.end_of(gate) == "completed"


def test_a_quorum_of_two_groups(cast: Cast) -> None:
    cast.publish("Quorum", policy={"all_of": ["group:ops", "group:security"]})
    gate = cast.start("Quorum")
    answer = cast["approver"].decide(gate)
    assert (answer["status"], answer["missing"]) == ("pending", ["group:security"])
    with pytest.raises(Refused) as refused:
        cast["admin"].decide(gate)
    assert refused.value.status == 403
    assert cast["mona"].decide(gate)["status"] == "approved"
    assert cast.end_of(gate) == "completed"


def test_a_delegate_while_one_is_on_leave(cast: Cast) -> None:
    cast.publish("Leave", required_approvers=["user123"])
    gate = cast.start("Leave")
    with pytest.raises(Refused) as refused:
        cast["mona"].decide(gate)
    assert refused.value.problem["code"] == "not_an_approver"
    end = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    leave = cast["approver"].call(
        "delegations/", {"workspace": "demo", "to": "mona", "ends_at": end, "reason": "Leave"}
    )
    answer = cast["mona"].decide(gate)
    assert (answer["status"], answer["approved_by"]) == ("approved", "mona")
    assert answer["decisions"][0]["on_behalf_of"] == "user123"
    assert cast.end_of(gate) == "completed"
    cast["approver"].call(f"delegations/{leave['id']}/revoke/", {})
    with pytest.raises(Refused) as refused:
        cast["mona"].decide(cast.start("Leave"))
    assert refused.value.status == 403


def test_expiry_and_escalation(cast: Cast) -> None:
    """Two clocks run at once: one request expires, another one's circle is widened."""
    expiring = cast.ask(expires_after_seconds=1)
    escalating = cast.ask(
        required_approvers=["user123"], escalate_after_seconds=1, escalate_to=["mona"]
    )
    assert cast["mona"].see(escalating)["can_decide"] is False
    eventually(lambda: cast.status_of(expiring) == "timeout", 20, "the expiry", cast.up.log)
    with pytest.raises(Refused) as refused:
        cast["approver"].decide(expiring)
    assert refused.value.problem["current_status"] == "timeout"
    widened = eventually(
        lambda: [shown for shown in [cast["mona"].see(escalating)] if shown["escalated_at"]],
        20,
        "the escalation",
        cast.up.log,
    )
    assert widened[0]["can_decide"] is True
    assert cast["mona"].decide(escalating)["status"] == "approved"


def test_a_question_stops_the_clock(cast: Cast) -> None:
    asked = cast.ask(expires_after_seconds=3_600)
    question = cast["approver"].call(f"approvals/{asked['id']}/questions/", {"body": "Which host?"})
    assert cast["viewer"].see(asked)["clock_stopped_at"]
    cast["operator"].call(f"questions/{question['id']}/answer/", {"body": "web-1"})
    shown = cast["viewer"].see(asked)
    assert (shown["clock_stopped_at"], shown["questions"][0]["answer"]) == (None, "web-1")
    assert shown["expires_at"] > asked["expires_at"]


def test_in_bulk(cast: Cast) -> None:
    requests = [cast.ask(title=f"Bulk {number}") for number in range(6)]
    decisions = [
        {"approval_id": each["id"], "outcome": "approved", "digest": each["digest"]}
        for each in requests
    ]
    decisions[3] |= {"digest": "0" * 64}
    results = cast["approver"].call("approvals/decisions/", {"decisions": decisions})["results"]
    assert [each["http_status"] for each in results] == [200] * 3 + [409] + [200] * 2
    left = cast["viewer"].call("approvals/?workspace=demo&q=Bulk&status=pending")["results"]
    assert [each["id"] for each in left] == [requests[3]["id"]]


def test_two_race(cast: Cast) -> None:
    cast.publish("Race")
    gate = cast.start("Race")
    at_once = threading.Barrier(2)

    def decide(name: str, outcome: str) -> tuple[int, Any]:
        at_once.wait(10)
        try:
            return 200, cast[name].decide(gate, outcome, feedback="So be it")
        except Refused as refused:
            return refused.status, refused.problem

    with ThreadPoolExecutor(2) as pool:
        answers = [
            pool.submit(decide, *who) for who in (("approver", "approved"), ("mona", "rejected"))
        ]
        told = sorted((answer.result() for answer in answers), key=lambda answer: answer[0])
    (won, winner), (lost, loser) = told
    assert (won, lost) == (200, 409)
    assert loser["code"] == "already_decided"
    assert (loser["decided_by"], loser["current_status"]) == (
        winner["approved_by"],
        winner["status"],
    )
    assert loser["decided_at"][:19] == winner["responded_at"][:19]
    assert cast.end_of(gate) == {"approved": "completed", "rejected": "failed"}[winner["status"]]


def test_who_waits_is_answered_at_once(cast: Cast) -> None:
    asked = cast.ask()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cast["operator"].call, f"approvals/{asked['id']}/wait/?timeout=30")
        cast["approver"].decide(asked)
        assert waiting.result(20)["status"] == "approved"


def test_what_was_taken_back_is_asked_again(cast: Cast) -> None:
    asked = cast.ask(min_approvals=2)
    cast["approver"].decide(asked)
    back = cast["approver"].call(f"approvals/{asked['id']}/retract/", {})
    assert [each["outcome"] for each in back["decisions"]] == ["approved", "retracted"]
    assert back["approvals_given"] == 0


def test_a_receipt_is_checked(cast: Cast) -> None:
    asked = cast.ask(approval_data={"amount": 100})
    cast["approver"].decide(asked)
    receipt = cast["operator"].call(f"approvals/{asked['id']}/receipt/")
    check = {"receipt": receipt}
    assert cast["viewer"].call("receipts/check/", check) == {"is_valid": True, "problems": []}


def test_an_outside_system_is_called_back(cast: Cast) -> None:
    secret = cast["admin"].call("workspaces/demo/signing-secret/", {})["secret"]
    asked = cast.ask(callback_url=f"http://{cast.receiver.host}/decided")
    cast["approver"].decide(asked, response_data={"window": "night"})
    eventually(lambda: cast.receiver.received, 20, "the call", cast.up.log)
    (told,) = cast.receiver.documents(secret)
    assert told["type"] == "approval_granted"
    assert told["data"]["approval"]["id"] == asked["id"]
    assert told["data"]["approval"]["response_data"] == {"window": "night"}
    cast.receiver.received.clear()


def test_a_webhook_hears_of_the_decision(cast: Cast) -> None:
    hook = cast["admin"].call(
        "webhooks/",
        {
            "workspace": "demo",
            "url": f"http://{cast.receiver.host}/hook",
            "event_types": ["approval_rejected"],
        },
    )
    asked = cast.ask()
    cast["approver"].decide(asked, "rejected", feedback="No")
    eventually(lambda: cast.receiver.received, 20, "the call", cast.up.log)
    (told,) = cast.receiver.documents(hook["secret"])
    assert (told["type"], told["data"]["approval_id"]) == ("approval_rejected", asked["id"])

    def is_recorded() -> bool:
        log = cast["admin"].call(f"webhooks/{hook['id']}/deliveries/")["results"]
        return [each["status"] for each in log] == ["delivered"]

    eventually(is_recorded, 20, "the record of the call", cast.up.log)
    cast["admin"].call(f"webhooks/{hook['id']}/", method="DELETE")
    cast.receiver.received.clear()


def test_a_link_in_a_mail_decides_once_and_never_by_get(cast: Cast) -> None:
    asked = cast.ask(title="Mailed")
    link = eventually(lambda: _link_to(cast.mail, "user123@example.org", "Mailed"), 20, "the mail")
    person = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    path = urllib.parse.urlsplit(link).path
    with person.open(cast.up.url + path, timeout=20) as answer:
        page = answer.read().decode()
    assert cast.status_of(asked) == "pending"
    form = dict(re.findall(r'type="hidden"\s+name="(\w+)"\s+value="([^"]*)"', page))
    said = urllib.parse.urlencode({**form, "outcome": "approved"}).encode()
    with person.open(cast.up.url + path, said, timeout=20) as answer:
        assert answer.status == 200
    shown = cast["viewer"].see(asked)
    assert [(each["user"], each["door"]) for each in shown["decisions"]] == [("user123", "link")]
    with pytest.raises(urllib.error.HTTPError) as gone:
        person.open(cast.up.url + path, timeout=20)
    with gone.value:
        assert gone.value.code == 410


def _link_to(mail: Path, address: str, title: str) -> str:
    """Return the link of the newest mail to a person about a request, "" if there is none."""
    for path in mail.iterdir():
        for part in path.read_bytes().split(b"\n" + b"-" * 79 + b"\n"):
            message = message_from_bytes(part.strip(), policy=as_message)
            if message["To"] == address and title in (message["Subject"] or ""):
                body = message.get_body(("plain",))
                assert body is not None
                found = re.search(r"\S+/approvals/link/\S+", body.get_content())
                if found:
                    return found[0]
    return ""
