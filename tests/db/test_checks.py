from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as of_this_process
from django.core.checks import run_checks
from django.db import DatabaseError

from mgx import checks


def ids(messages: Iterable[Any]) -> set[str]:
    return {message.id for message in messages}


@pytest.mark.django_db
def test_this_installation_passes_them_all(settings) -> None:
    settings.ALLOWED_HOSTS = ["localhost"]
    assert [m for m in run_checks(databases=["default"]) if m.id.startswith("mgx.")] == []


def test_every_message_says_the_way_out(settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.DEBUG = True
    settings.SECRET_KEY = "short"
    settings.STEP_HANDLERS = {"task": "nowhere.Handler"}
    assert all(message.hint for message in run_checks() if message.id.startswith("mgx."))


@pytest.mark.parametrize("setting", ["STEP_HANDLERS", "TIMER_HANDLERS", "REFERENCE_CHECKS"])
@pytest.mark.parametrize("path", ["nowhere.Handler", "workflows.handlers.task.Nobody", "plain"])
def test_a_handler_that_cannot_be_imported_is_an_error(settings, setting, path) -> None:
    setattr(settings, setting, {"task": path})
    (message,) = checks.check_step_handlers()
    assert message.id == "mgx.E001"
    assert path in message.msg


def test_a_lease_shorter_than_two_heartbeats_is_an_error(settings) -> None:
    settings.MGX_LEASE_SECONDS, settings.MGX_HEARTBEAT_SECONDS = 10.0, 6.0
    assert ids(checks.check_engine_settings()) == {"mgx.E002"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("MGX_RETENTION_DAYS", -1),
        ("MGX_RETENTION_DAYS", 1_000_000),
        ("MGX_AGENT_MESSAGE_DAYS", -1),
        ("MGX_MEMORY_MAX_ENTRIES", -1),
        ("MGX_LEASE_SECONDS", float("inf")),
        ("MGX_LEASE_SECONDS", float("nan")),
    ],
)
def test_a_number_out_of_its_range_is_an_error(settings, setting, value) -> None:
    setattr(settings, setting, value)
    (message,) = checks.check_ranges()
    assert message.id == "mgx.E009"
    assert message.msg == f"{setting} is {value}."


def test_every_number_of_ours_has_a_range() -> None:
    numbers = {
        name
        for name in dir(of_this_process)
        if name.startswith("MGX_") and type(getattr(of_this_process, name)) in (int, float)
    }
    assert numbers == set(checks.RANGES)


def test_a_task_that_outlives_its_place_in_the_queue_is_an_error(settings) -> None:
    settings.Q_CLUSTER = {"timeout": 300, "retry": 300}
    assert ids(checks.check_queue_settings()) == {"mgx.E003"}


@pytest.mark.parametrize(
    ("url", "secrets", "expected"),
    [
        ("", [], set()),
        ("https://api.example.com/v1", ["KEY@api.example.com", "OTHER@10.0.0.5:8200"], set()),
        ("http://10.0.0.5:8200/v1", [], {"mgx.E007"}),
        ("api.example.com", [], {"mgx.E007"}),
        ("", ["sk-canary"], {"mgx.E008"}),
        ("", ["@api.example.com", "KEY@"], {"mgx.E008"}),
    ],
)
def test_agents_outside_can_be_called_with_what_is_meant_for_them(
    settings, url, secrets, expected
) -> None:
    settings.LLM_BASE_URL, settings.MGX_AGENT_SECRETS = url, secrets
    found = checks.check_agents_outside()
    assert ids(found) == expected
    assert "canary" not in repr(found)


@pytest.mark.parametrize("key", ["short", "a" * 80])
def test_a_weak_secret_key_is_an_error(settings, key) -> None:
    settings.SECRET_KEY = key
    assert ids(checks.check_secret_key()) == {"mgx.E004"}


@pytest.mark.parametrize(
    ("hosts", "debug", "https", "expected"),
    [
        (["localhost", "127.0.0.1", "[::1]"], True, False, set()),
        (["*"], False, True, {"mgx.E005"}),
        (["mgx.example.org"], True, True, {"mgx.E006"}),
        (["mgx.example.org"], False, False, {"mgx.W001"}),
        (["mgx.example.org"], False, True, set()),
    ],
)
def test_what_others_can_reach_is_judged_more_strictly(
    settings, hosts, debug, https, expected
) -> None:
    settings.ALLOWED_HOSTS, settings.DEBUG = hosts, debug
    settings.SESSION_COOKIE_SECURE = https
    assert ids(checks.check_exposure()) == expected


def test_links_in_mail_lead_to_where_people_reach_it(settings: Any) -> None:
    settings.MGX_URL, settings.ALLOWED_HOSTS = "http://127.0.0.1:8000", ["localhost"]
    assert ids(checks.check_address_in_mail()) == set()
    settings.ALLOWED_HOSTS = ["mgx.example.org"]
    assert ids(checks.check_address_in_mail()) == {"mgx.W002"}
    settings.MGX_URL = "https://mgx.example.org"
    assert ids(checks.check_address_in_mail()) == set()


class Cursor:
    """Answers each statement from a table; None means that nobody answers."""

    def __init__(self, answers: dict[str, Any] | None) -> None:
        self.answers = answers

    def __enter__(self) -> "Cursor":
        return self

    def __exit__(self, *_: object) -> None: ...

    def execute(self, statement: str) -> None:
        if self.answers is None:
            raise DatabaseError
        self.answer = self.answers[statement]

    def fetchone(self) -> tuple[Any]:
        return (self.answer,)


def found(monkeypatch, vendor: str, answers: dict[str, Any] | None, mode: str = "") -> set[str]:
    connection = SimpleNamespace(
        vendor=vendor,
        cursor=lambda: Cursor(answers),
        settings_dict={"OPTIONS": {"transaction_mode": mode}},
    )
    monkeypatch.setattr(checks, "connections", {"default": connection})
    return ids(checks.check_databases(["default"]))


POSTGRESQL = {"SHOW server_version_num": "150020", "SHOW synchronous_commit": "on"}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"SHOW fsync": "on"}, set()),
        ({"SHOW fsync": "on", "SHOW synchronous_commit": "remote_apply"}, set()),
        ({"SHOW fsync": "on", "SHOW server_version_num": "140000"}, set()),
        ({"SHOW fsync": "on", "SHOW server_version_num": "130022"}, {"mgx.E015"}),
        ({"SHOW fsync": "off"}, {"mgx.E016"}),
        ({"SHOW fsync": "on", "SHOW synchronous_commit": "off"}, {"mgx.E016"}),
    ],
)
def test_a_postgresql_that_forgets_is_an_error(monkeypatch, answers, expected) -> None:
    assert found(monkeypatch, "postgresql", POSTGRESQL | answers) == expected


def test_a_postgresql_that_does_not_answer_is_an_error(monkeypatch) -> None:
    assert found(monkeypatch, "postgresql", None) == {"mgx.E014"}


@pytest.mark.parametrize(
    ("version", "mode", "synchronous", "expected"),
    [
        ((3, 40, 1), "IMMEDIATE", 2, set()),
        ((3, 36, 0), "IMMEDIATE", 2, {"mgx.E011"}),
        ((3, 40, 1), "DEFERRED", 2, {"mgx.E012"}),
        ((3, 40, 1), "IMMEDIATE", 1, {"mgx.E013"}),
    ],
)
def test_a_sqlite_that_is_too_old_or_forgets_is_an_error(
    monkeypatch, version, mode, synchronous, expected
) -> None:
    monkeypatch.setattr(checks.sqlite3, "sqlite_version_info", version)
    answers = {"PRAGMA synchronous": synchronous}
    assert found(monkeypatch, "sqlite", answers, mode) == expected


def test_another_database_is_an_error(monkeypatch) -> None:
    assert found(monkeypatch, "mysql", {}) == {"mgx.E010"}
