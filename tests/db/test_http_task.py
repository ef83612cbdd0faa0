"""``http.request``: what it sends, what it returns, and where it does not go."""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from workflows import net, transport
from workflows.core.outcomes import Completed, Failed, Outcome
from workflows.core.steps import TaskStep
from workflows.handlers import StepContext
from workflows.handlers.task import TaskHandler
from workflows.tasks import TaskFailure, input_problems

#: Of shop.test, signed by itself, with its key; of no use anywhere else.
CERTIFICATE = Path(__file__).parent / "certificates" / "shop.test.pem"
SECRET = "Bearer canary-7f3a"


class Server(ThreadingHTTPServer):
    """Answers what it is told to, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")
        self.pause = threading.Event()
        self.pause.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def handle_one(self) -> None:
        length = int(self.headers.get("content-length", 0))
        asked = (self.command, self.path, dict(self.headers), self.rfile.read(length))
        self.server.asked.append(asked)
        self.server.pause.wait(10)
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_DELETE = handle_one

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(settings: Any) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    settings.MGX_ALLOWED_INTERNAL_HOSTS = [f"127.0.0.1:{server.server_port}"]
    yield server
    server.pause.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that lets every name stand for some addresses."""

    def to(*addresses: str) -> None:
        async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
            return [(0, 0, 0, "", (address, 443)) for address in addresses]

        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)

    return to


def call(**inputs: Any) -> Outcome:
    """Run the task as a step does; what it raises fails the step with its code."""
    config = {"task": "http.request", "inputs": inputs}
    step = TaskStep.model_validate({"name": "s", "step_type": "task", "config": config})
    known = dict.fromkeys(StepContext.__dataclass_fields__)
    context = StepContext(
        **known | {"step": step, "inputs": inputs, "step_execution_id": uuid4(), "attempt": 1}
    )
    try:
        return asyncio.run(TaskHandler().run(context))
    except TaskFailure as error:
        return Failed(error.code, str(error))


def output(outcome: Outcome) -> Any:
    assert isinstance(outcome, Completed), outcome
    return outcome.output


def test_returns_what_it_was_answered(server: Server) -> None:
    headers = {"Content-Type": "application/json", "ETag": "7", "Set-Cookie": "a=b"}
    server.answer = (200, headers, b'{"price": 12.5}')
    answer = output(call(url=f"{server.url}/items?q=1", headers={"Authorization": SECRET}))
    assert answer["status"] == 200
    assert answer["json"] == {"price": 12.5}
    assert answer["headers"]["etag"] == "7"
    assert "set-cookie" not in answer["headers"]
    [(method, path, sent, body)] = server.asked
    assert (method, path, body) == ("GET", "/items?q=1", b"")
    assert sent["Authorization"] == SECRET
    assert sent["Host"] == server.url.removeprefix("http://")
    assert "Idempotency-Key" not in sent


def test_sends_json_with_the_key_of_the_step(server: Server) -> None:
    server.answer = (201, {"Content-Type": "text/plain; charset=iso-8859-1"}, b"gr\xfcn")
    answer = output(call(url=server.url, method="POST", json={"b": 1, "a": [None]}))
    assert (answer["status"], answer["body"]) == (201, "grün")
    [(_, _, sent, body)] = server.asked
    assert json.loads(body) == {"b": 1, "a": [None]}
    assert sent["Content-Type"] == "application/json"
    assert len(sent["Idempotency-Key"]) == 36


def test_returns_bytes_that_are_no_text_in_base64(server: Server) -> None:
    server.answer = (200, {}, b"\xff\x00")
    assert output(call(url=server.url))["body_base64"] == "/wA="


@pytest.mark.parametrize("status", [302, 404, 503])
def test_a_status_that_is_not_expected_is_an_error_of_its_own(server: Server, status: int) -> None:
    server.answer = (status, {"Location": "http://127.0.0.1:1/"}, b"secret in the body")
    outcome = call(url=f"{server.url}/a?key=canary", headers={"Authorization": SECRET})
    assert isinstance(outcome, Failed)
    assert outcome.code == f"http_{status}"
    assert "canary" not in outcome.message
    assert "secret" not in outcome.message
    assert len(server.asked) == 1, "a redirect is not followed"
    assert output(call(url=server.url, expected_statuses=[status]))["status"] == status


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, {}, b"x" * 1_048_577), "http_too_large"),
        ((200, {"Content-Encoding": "gzip"}, b"x"), "http_compressed"),
        ((200, {"Content-Type": "application/json"}, b"{'a': 1}"), "http_invalid_json"),
        ((200, {"Content-Type": "application/json"}, b'{"a": NaN}'), "http_invalid_json"),
        ((200, {"Content-Length": "nonsense"}, b""), "http_error"),
    ],
)
def test_an_answer_that_cannot_be_used_fails(server: Server, answer: Any, code: str) -> None:
    server.answer = answer
    outcome = call(url=server.url)
    assert isinstance(outcome, Failed)
    assert outcome.code == code


def test_an_answer_that_does_not_come_is_a_timeout(server: Server) -> None:
    server.pause.clear()
    outcome = call(url=server.url, timeout_seconds=0.2)
    assert isinstance(outcome, Failed)
    assert outcome.code == "timeout"


def test_nobody_who_listens_is_unreachable(settings: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    settings.MGX_ALLOWED_INTERNAL_HOSTS = ["127.0.0.1"]
    outcome = call(url=f"http://127.0.0.1:{port}/")
    assert isinstance(outcome, Failed)
    assert outcome.code == "http_unreachable"


INTERNAL = [
    "http://127.0.0.1/",
    "http://localhost/",
    "http://foo.localhost./",
    "http://10.0.0.1/",
    "http://172.16.3.4/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/",
    "http://224.0.0.1/",
    "http://0.0.0.0/",
    "http://255.255.255.255/",
    "http://192.88.99.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[fe80::1]/",
    "http://[fd00::1]/",
    "http://[ff02::1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://2130706433/",
    "http://127.1/",
]


@pytest.mark.parametrize("url", INTERNAL)
def test_an_internal_address_is_refused_when_it_is_saved_and_when_it_is_called(url: str) -> None:
    [(path, error_type, message)] = input_problems("http.request", {"url": url})
    assert (path, error_type) == (("url",), "forbidden_address")
    assert "'url'" in message
    outcome = call(url=url)
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.is_final) == ("invalid_inputs", True)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com",
        "https://",
        "https://user:pass@example.com/",
        "https://example.com:22/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/\r\nX: y",
        "https://[::1",
    ],
)
def test_what_is_no_url_to_call_is_refused(url: str) -> None:
    [(_, error_type, _)] = input_problems("http.request", {"url": url})
    assert error_type == "forbidden_address"


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::ffff:127.0.0.1"], ["fe80::1%eth0"]],
)
def test_a_name_that_leads_inside_is_refused_at_the_connection(
    resolving: Callable[..., None], addresses: list[str]
) -> None:
    resolving(*addresses)
    assert input_problems("http.request", {"url": "https://example.com/"}) == []
    outcome = call(url="https://example.com/?key=canary")
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.is_final) == ("forbidden_address", True)
    assert "canary" not in outcome.message


def test_connects_to_the_address_that_was_judged(
    server: Server, resolving: Callable[..., None], settings: Any
) -> None:
    """The name is resolved once: a second answer, after the judgement, would not be asked for."""
    port = server.server_port
    settings.MGX_ALLOWED_INTERNAL_HOSTS = [f"shop.test:{port}"]
    resolving("127.0.0.1")
    output(call(url=f"http://shop.test:{port}/"))
    assert server.asked[0][2]["Host"] == f"shop.test:{port}"


@pytest.mark.parametrize(("host", "is_itself"), [("shop.test", True), ("other.test", False)])
def test_a_certificate_is_checked_for_the_name_in_the_url(
    server: Server,
    resolving: Callable[..., None],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    is_itself: bool,
) -> None:
    """The connection goes to an address, the server proves to be the one that was named."""
    proof = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    proof.load_cert_chain(CERTIFICATE)
    server.socket = proof.wrap_socket(server.socket, server_side=True)
    trusted = ssl.create_default_context(cafile=CERTIFICATE)
    monkeypatch.setattr(transport, "_certificates", lambda: trusted)
    settings.MGX_ALLOWED_INTERNAL_HOSTS = [host]
    resolving("127.0.0.1")
    outcome = call(url=f"https://{host}:{server.server_port}/")
    assert isinstance(outcome, Completed) == is_itself
    assert len(server.asked) == is_itself


def test_goes_on_to_the_next_address_where_one_does_not_answer(
    server: Server, resolving: Callable[..., None], settings: Any
) -> None:
    settings.MGX_ALLOWED_INTERNAL_HOSTS = ["shop.test"]
    resolving("127.0.0.2", "127.0.0.1")
    assert output(call(url=f"http://shop.test:{server.server_port}/"))["status"] == 200


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111"])
def test_the_internet_is_outside(address: str) -> None:
    assert net.is_outside(address)


@pytest.mark.parametrize(
    "headers",
    [{"X-A": f"{SECRET}\r\nB: c"}, {"X-A": SECRET + "\n"}, {"a b": SECRET}, {"Host": SECRET}],
)
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(headers: Any) -> None:
    inputs = {"url": "https://example.com/", "headers": headers}
    [(_, error_type, message)] = input_problems("http.request", inputs)
    assert error_type == "invalid_header"
    assert SECRET not in message


@pytest.mark.parametrize(
    "inputs",
    [
        {"method": "TRACE"},
        {"method": "get"},
        {"timeout_seconds": 0},
        {"timeout_seconds": 301},
        {"timeout_seconds": "5"},
        {"headers": {"a": 1}},
        {"expected_statuses": [42]},
        {"verify": False},
    ],
)
def test_wrong_inputs_are_told_at_save(inputs: dict[str, Any]) -> None:
    assert input_problems("http.request", {"url": "https://example.com/", **inputs})
