"""Lists in pages: complete, in order, and still while rows are added."""

import base64
import json

import pytest
from django.utils import timezone

from workflows.models import Workflow

pytestmark = pytest.mark.django_db

URL = "/api/v1/workflows/"


@pytest.fixture
def rows(workspace):
    """Seven workflows, five of which were made at the same moment."""
    made = [Workflow.objects.create(workspace=workspace, name=f"w{i}") for i in range(7)]
    Workflow.objects.filter(name__lte="w4").update(created_at=timezone.now())
    return made


def walk(client, query, link="next"):
    url, pages = f"{URL}?{query}", []
    while url:
        answer = client.get(url)
        assert answer.status_code == 200, answer.content
        page = answer.json()
        pages.append([row["name"] for row in page["results"]])
        url = page[link]
    return pages


@pytest.mark.parametrize("ordering", ["name", "-name", "created_at", "-created_at", "updated_at"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
def test_pages_join_up_to_the_whole(api, rows, ordering, limit):
    whole = walk(api("viewer"), f"ordering={ordering}&limit=200")[0]
    assert sorted(whole) == [f"w{i}" for i in range(7)]
    pages = walk(api("viewer"), f"ordering={ordering}&limit={limit}")
    assert [name for page in pages for name in page] == whole
    assert all(len(page) == limit for page in pages[:-1])


def test_previous_leads_back_the_same_way(api, rows):
    client, url, seen = api("viewer"), f"{URL}?limit=2&ordering=-created_at", []
    while url:
        page = client.get(url).json()
        seen.append(page["results"])
        last, url = page, page["next"]
    back = []
    url = last["previous"]
    while url:
        page = client.get(url).json()
        back.append(page["results"])
        url = page["previous"]
    assert back == seen[-2::-1]
    assert page["next"]


def test_new_rows_shift_nothing(api, rows, workspace):
    first = api("viewer").get(f"{URL}?limit=3").json()
    Workflow.objects.create(workspace=workspace, name="a-first")
    second = api("viewer").get(first["next"]).json()
    assert [row["name"] for row in second["results"]] == ["w3", "w4", "w5"]


@pytest.mark.parametrize("limit", ["0", "-1", "201", "1000000000", "x", "1.5", "", "٣", "1e2"])
def test_a_page_has_1_to_200_rows(api, limit):
    answer = api("viewer").get(f"{URL}?limit={limit}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_limit")


@pytest.mark.parametrize(
    "ordering", ["nothing", "--name", "workspace__slug", "password", "name,id"]
)
def test_only_what_is_offered_orders(api, ordering):
    answer = api("viewer").get(f"{URL}?ordering={ordering}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_ordering")


NO_KEY = "00000000-0000-0000-0000-000000000000"


def forge(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "!!!!",
        "é",
        forge("[1]"),
        forge("null"),
        forge("["),
        forge("[" * 5000),
        forge(["created_at", "yesterday", "x", False]),
        forge(["created_at", "2026-01-01T00:00:00Z", "no-uuid", False]),
        forge(["created_at", "9999-99-99", "x", False]),
        forge(["name", "w1", "x", False]),
        forge(["created_at", None, None, False]),
        forge(["created_at", {}, [], 1]),
        forge(["created_at", 10**400, 5, False]),
        forge(["created_at", "2026-01-01T00:00:00Z", "\0", False]),
        forge(["created_at", "2026-01-01", NO_KEY, False]),
        forge(["created_at", "2026-01-01T00:00:00", NO_KEY, False]),
        forge(["created_at", "0001-01-01T00:00:00+14:00", NO_KEY, False]),
        forge(["created_at", "9999-12-31T23:59:59-14:00", NO_KEY, False]),
    ],
)
def test_a_forged_cursor_is_400(api, rows, cursor):
    answer = api("viewer").get(f"{URL}?ordering=created_at&cursor={cursor}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize("name", ["\0", "\ud800", "w\udfff"])
def test_a_cursor_with_text_that_no_row_has_is_400(api, rows, name):
    cursor = forge(["name", name, NO_KEY, False])
    answer = api("viewer").get(f"{URL}?ordering=name&cursor={cursor}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


def test_a_cursor_of_another_order_is_400(api, rows):
    url = api("viewer").get(f"{URL}?limit=2").json()["next"]
    answer = api("viewer").get(f"{url}&ordering=-name")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


def test_a_forged_cursor_of_the_right_shape_shows_nothing_foreign(api, rows, other_workspace):
    Workflow.objects.create(workspace=other_workspace, name="w-secret")
    cursor = forge(["name", "", NO_KEY, False])
    names = [r["name"] for r in api("viewer").get(f"{URL}?cursor={cursor}").json()["results"]]
    assert names == [f"w{i}" for i in range(7)]
