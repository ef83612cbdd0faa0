"""The inbox among very many requests, as its page and the API answer it."""

import time
from collections.abc import Mapping

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from mgx.bench.crowd import gather
from mgx.bench.scene import Figures, Scene, spread
from mgx.loaded import load_and_keep
from workflows.models import User
from workflows.services.access import issue_token

_ROUNDS = 60
_MINE = 500
#: What is asked, by the name of its figures.
_ADDRESSES: Mapping[str, str] = {
    "list": "/approvals/",
    "search": "/approvals/?q=refund",
    "page_2": "/approvals/?page=2",
    "others": "/approvals/?tab=others",
    "others_search": "/approvals/?tab=others&q=northwind",
    "others_rare": "/approvals/?tab=others&q=99%39%39",
    "history": "/approvals/history/",
    "any_page": "/workflows/",
    "rest": "/api/v1/approvals/?assigned_to=me&status=pending",
    "rest_search": "/api/v1/approvals/?assigned_to=me&status=pending&q=refund",
}


def inbox(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """The inbox of one for whom 500 of 100,000 requests wait, with as many decided ones."""
    count = size or 100_000
    crowd = gather(scene, count, min(_MINE, count))
    client = _client(crowd.reader)
    load_and_keep()
    figures: Figures = {"waiting": count, "mine": crowd.mine}
    for name, address in _ADDRESSES.items():
        times = [_ask(client, address) for _ in range(_ROUNDS + 5)][5:]
        measured = spread(times)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            _ask(client, address)
        figures |= {f"{name}_p95_ms": measured["p95_ms"], f"{name}_queries": len(queries)}
    return {
        **figures,
        "how": (
            f"{_ROUNDS} requests of each address through the whole of Django, in this process;"
            f" {count} requests pending, {crowd.mine} of them for the reader, {count} decided"
        ),
    }


def _client(user: User) -> Client:
    _, secret = issue_token(user, name="bench", scopes=["read"])
    client = Client(headers={"host": "localhost", "authorization": f"Bearer {secret}"})
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client


def _ask(client: Client, address: str) -> float:
    """Return the milliseconds until ``address`` is answered."""
    begun = time.perf_counter()
    answer = client.get(address)
    if answer.status_code != 200:
        raise RuntimeError(f"{address} answered {answer.status_code}")
    return (time.perf_counter() - begun) * 1_000
