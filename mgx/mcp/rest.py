"""The REST API, asked in this process as a client asks it from outside."""

import json
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from mgx.middleware import Application


class Refused(Exception):
    """REST refused a call. ``problem``: its problem details, ``retry_after``: seconds, or ""."""

    def __init__(self, problem: dict[str, Any], retry_after: str = "") -> None:
        super().__init__(problem.get("detail", ""))
        self.problem = problem
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        return int(self.problem.get("status", 500))


class Api:
    """The API, for any number of callers. ``application``: what the web server runs."""

    def __init__(self, application: Application) -> None:
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(application, raise_app_exceptions=False),
            # Where MGX_HTTPS is set, anything else is redirected.
            base_url=f"https://{_own_host()}/api/v1/",
            trust_env=False,
        )

    def for_token(self, token: str) -> "Caller":
        """Return the API as the owner of a token may use it."""
        return Caller(self._client, token)


class Caller:
    """The API for one caller, who is found anew in the database at every call."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Return the answer to a GET; what is None is not asked. Raises Refused."""
        asked = {name: value for name, value in query.items() if value is not None}
        return _read(await self._client.get(path, params=asked, headers=self._headers))

    async def post(
        self, path: str, body: dict[str, Any], *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Return the answer to a POST. Raises Refused."""
        headers = dict(self._headers)
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        return _read(await self._client.post(path, json=body, headers=headers))


def _read(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = json.loads(answer.content)
    except ValueError:
        document = {"detail": "The answer cannot be read.", "code": "internal_error"}
    if answer.is_success:
        return dict(document)
    document.setdefault("status", answer.status_code)
    raise Refused(document, answer.headers.get("Retry-After", ""))


def _own_host() -> str:
    """Return a name that this installation answers to."""
    named = [urlsplit(settings.MGX_URL).netloc, *settings.ALLOWED_HOSTS]
    hosts = [name.lstrip(".") for name in named]
    allowed = settings.ALLOWED_HOSTS
    return next((h for h in hosts if validate_host(split_domain_port(h)[0], allowed)), "localhost")
