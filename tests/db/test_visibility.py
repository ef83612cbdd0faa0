"""Nothing on a page, in the admin or on a socket reveals what another workspace owns.

Like ``test_api_visibility.py`` it reads the routes, so that a new page is held to this at once.
"""

import re
import uuid

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from agents.models import AgentDefinition
from tests.db.foreign_rows import FOREIGN, SECRET, fill_everything
from workflows.live import admission
from workflows.live.rights import CloseCode, Refused
from workflows.models import User
from workflows.services.access import issue_token

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.promise("P15 every page, the admin and sockets with foreign ids, in each role"),
]

ROLES = ("viewer", "operator", "approver", "editor", "admin")
#: The API and the admin have a matrix of their own.
ELSEWHERE = ("api/v1/", "admin/")
#: Addresses with what is no id: who holds the token may follow it.
TOKENS = {"approvals/link/<str:token>/"}
QUERIES = ("", "?q=secret", "?workspace=secret", f"?workflow={FOREIGN}", "?tab=all&q=secret")


def _routes(patterns, prefix=""):
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if route not in ELSEWHERE:
                yield from _routes(pattern.url_patterns, route)
        elif route not in TOKENS:
            yield route


ROUTES = sorted(set(_routes(get_resolver().url_patterns)))
OBJECT_PAGES = [route for route in ROUTES if "<" in route]
PAGES = [route for route in ROUTES if "<" not in route and "log" not in route]


@pytest.fixture
def foreign(make_member):
    return fill_everything(make_member("outsider"), make_member("second"))


def _address(route, identifier=FOREIGN):
    filled = re.sub(r"<uuid:\w+>", str(identifier), route)
    assert "<" not in filled, f"{route}: what may stand there?"
    return f"/{filled}"


def _state(foreign):
    return [type(row).objects.filter(pk=row.pk).values().get() for row in foreign.values()]


def test_there_are_pages_to_look_at():
    assert len(OBJECT_PAGES) > 10
    assert len(PAGES) > 3


@pytest.mark.parametrize("role", ROLES)
def test_a_page_about_a_foreign_id_is_404(client_for, foreign, role):
    before, client = _state(foreign), client_for(role)
    for route in OBJECT_PAGES:
        statuses = set()
        for call in (client.get, client.post):
            answer = call(_address(route))
            statuses.add(answer.status_code)
            assert answer.status_code in (404, 405), (route, answer)
            assert answer.status_code == call(_address(route, uuid.uuid4())).status_code
            assert SECRET not in answer.content.decode(), route
        assert 404 in statuses, route
    assert _state(foreign) == before


def test_no_page_shows_what_is_foreign(client_for, foreign):
    client = client_for("admin")
    for route in PAGES:
        for query in QUERIES:
            answer = client.get(f"/{route}{query}")
            assert answer.status_code in (200, 302, 404, 405), (route, query, answer)
            text = answer.getvalue().decode()
            assert str(FOREIGN) not in text.replace(f"workflow={FOREIGN}", ""), (route, query)
            assert SECRET not in text, (route, query)


def test_nobody_sees_a_page_before_they_sign_in(client, foreign):
    for route in (*OBJECT_PAGES, *PAGES):
        answer = client.get(_address(route))
        assert answer.status_code in (302, 405), route
        if answer.status_code == 302:
            assert answer["Location"].startswith("/login/"), route


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_staff_see_no_row_of_another_workspace(users, foreign, role):
    User.objects.filter(pk=users[role].pk).update(is_staff=True)
    client = Client()
    client.force_login(users[role], "django.contrib.auth.backends.ModelBackend")
    before = _state(foreign)
    for model, row in foreign.items():
        if not admin.site.is_registered(model) or model in (User, AgentDefinition):
            continue
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        for verb in ("change", "delete", "history"):
            for call in (client.get, client.post):
                answer = call(reverse(f"{name}_{verb}", args=[row.pk]))
                assert answer.status_code in (302, 403, 404), (model, verb)
                assert SECRET not in answer.content.decode(), (model, verb)
        for query in ("", "?q=Secret", "?workspace=secret"):
            answer = client.get(reverse(f"{name}_changelist") + query)
            if answer.status_code == 200:
                shown = answer.context["cl"].result_list
                assert row not in shown, (model, query)
    assert _state(foreign) == before


@pytest.mark.parametrize("role", ROLES)
def test_a_socket_follows_no_foreign_workspace(users, foreign, role):
    token = issue_token(users[role], name="test", scopes=["read"])[1]
    headers = {"authorization": f"Bearer {token}"}
    assert admission.admit(headers, b"workspace=acme").visitor.user_id == users[role].pk
    codes = set()
    for query in (b"workspace=secret", b"workspace=secret&after=0", b"workspace=nowhere"):
        with pytest.raises(Refused) as refused:
            admission.admit(headers, query)
        codes.add((refused.value.code, refused.value.reason))
    assert {code for code, _ in codes} == {CloseCode.FORBIDDEN}
    assert len(codes) == 1
