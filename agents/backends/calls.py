"""What the agents outside have in common: their config, their secrets, and a POST to them that ends
in JSON or in somebody's fault.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from pydantic import ValidationError, model_validator
from pydantic_core import PydanticCustomError

from agents.faults import AgentFault, InputFault
from agents.prices import SpendingConfig
from workflows.core.canonical import loads_strict
from workflows.core.errors import CanonicalError
from workflows.net import ForbiddenAddress, UnknownHost, check_url, is_exempt, origin_of

#: Refusals that no input is the reason of: of who asks, or of asking now.
_NOT_THE_INPUTS = frozenset({401, 407, 408, 425, 429})
_LONGEST_WORDS = 500
_LONGEST_REFUSAL = 65_536
#: Around a word of a stream stands many times as much.
_STREAMED_AT_MOST = 64
#: A shorter secret is none, and would be found in many an answer.
_SHORTEST_HIDDEN = 8

_MOST_PROBLEMS = 5
_SECRET_NAME = re.compile(r"(?i)(key|secret|token|password|authorization)$")


class OutsideConfig(SpendingConfig):
    """What the config of an agent outside says; it names secrets, and holds none."""

    @model_validator(mode="before")
    @classmethod
    def _holds_no_secret(cls, config: Any) -> Any:
        options = config.get("options")
        for name in (*config, *(options if isinstance(options, dict) else ())):
            if _SECRET_NAME.search(name):
                raise PydanticCustomError(
                    "secret",
                    "{name} does not belong here, but into a variable of the environment",
                    {"name": name[:100]},
                )
        return config


Config = TypeVar("Config", bound=OutsideConfig)


def read_config(model: type[Config], config: dict[str, Any]) -> Config:
    """Return an agent's config as its backend needs it. Raises AgentFault ``agent_config``."""
    try:
        return model.model_validate(config)
    except ValidationError as error:
        said = "; ".join(problems_of(error))
        raise AgentFault(f"The agent's config is wrong: {said}", "agent_config") from None


def problems_of(error: ValidationError, *, besides: str = "") -> list[str]:
    """Return what is wrong with a config, without its values; ``besides``: errors of that type."""
    found = [
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}".removeprefix(": ")
        for detail in error.errors(include_url=False, include_input=False)
        if detail["type"] != besides
    ]
    return found[:_MOST_PROBLEMS]


def secret_for(name: str, url: str) -> str:
    """Return the secret in the environment variable ``name``, if it is meant for the host in
    ``url``.

    ``MGX_AGENT_SECRETS`` says which one is meant for which host: who edits an agent's config must
    not have whatever is in the environment sent to wherever they like. Raises AgentFault
    ``agent_config``.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    meant_for = {f"{name}@{host}", f"{name}@{host}:{port}"}
    if meant_for.isdisjoint(settings.MGX_AGENT_SECRETS):
        message = f"MGX_AGENT_SECRETS does not say that {name[:100]} is meant for {host}"
        raise AgentFault(message, "agent_config")
    if parts.scheme != "https" and not is_exempt(host, port):
        raise AgentFault(f"A secret goes to {host} by https:// only", "agent_config")
    return sendable(name, os.environ.get(name, ""))


def sendable(name: str, secret: str) -> str:
    """Return what a variable holds without the white space around it, which files end with.

    Raises AgentFault ``agent_config`` where that is nothing, or cannot stand in a header.
    """
    secret = secret.strip()
    if not secret or not secret.isascii() or not secret.isprintable():
        message = f"The environment holds nothing as {name} that could be sent"
        raise AgentFault(message, "agent_config")
    return secret


class Reader(Protocol):
    """Reads an answer as it comes. All of it may raise AgentFault."""

    def takes(self, content_type: str) -> bool:
        """Tell whether it reads what is of this type."""
        ...

    def feed(self, chunk: bytes) -> None:
        """Take the next part."""
        ...

    def result(self) -> Any:
        """Return the JSON that the parts come to."""
        ...


async def post_json(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_seconds: float,
    hidden: str = "",
    also_its_own: Collection[int] = (),
    reader: Reader | None = None,
) -> Any:
    """Post JSON to an agent and return the JSON that it answers, or what ``reader`` makes of it.

    ``hidden`` is left out of what comes back, should it come back. A status from 400 to 499 is the
    fault of the inputs, but for the few that they cannot cause, and for ``also_its_own``.

    Raises AgentFault and InputFault, with nothing of the URL but its origin.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            status, payload = await _send(check_url(url), body, headers, timeout_seconds, reader)
    except TimeoutError:
        message = f"{origin_of(url)} did not answer within {timeout_seconds:g} seconds"
        raise AgentFault(message, "agent_timeout") from None
    except (ForbiddenAddress, UnknownHost) as error:
        raise AgentFault(str(error), error.code) from None
    if not 200 <= status < 300:
        message = ": ".join(
            filter(None, (f"{origin_of(url)} answered {status}", _words(payload, hidden)))
        )
        if 400 <= status < 500 and status not in _NOT_THE_INPUTS.union(also_its_own):
            raise InputFault(message, f"http_{status}")
        raise AgentFault(message, f"http_{status}")
    if payload is None:
        assert reader is not None
        return without(hidden, reader.result())
    try:
        answer = loads_strict(payload, max_bytes=settings.MGX_MAX_OUTPUT_BYTES)
    except CanonicalError as error:
        message = f"The answer of {origin_of(url)} cannot be read: {error.message}"
        raise AgentFault(message, "unreadable_answer") from None
    return without(hidden, answer)


async def _send(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout_seconds: float,
    reader: Reader | None,
) -> tuple[int, bytes | None]:
    """Return the status and the body of an answer; of a refusal only its beginning, and None where
    the reader has taken it."""
    import httpx  # most processes never ask an agent outside

    from workflows.transport import guarded_client

    headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
    try:
        async with (
            guarded_client(timeout_seconds) as client,
            client.stream("POST", url, headers=headers, content=body) as response,
        ):
            content_type = response.headers.get("content-type", "")
            if response.is_success and reader and reader.takes(content_type):
                await _feed(reader, response.aiter_raw(), url)
                return response.status_code, None
            most = settings.MGX_MAX_OUTPUT_BYTES if response.is_success else _LONGEST_REFUSAL
            payload = bytearray()
            async for chunk in response.aiter_raw():
                payload += chunk
                if len(payload) > most:
                    break
            return response.status_code, bytes(payload[: most + 1])
    except httpx.TimeoutException:
        raise TimeoutError from None
    except httpx.ConnectError:
        raise AgentFault(f"{origin_of(url)} cannot be reached", "agent_unreachable") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # Not its text: that may hold the address, with what is secret in it.
        message = f"The call to {origin_of(url)} broke off: {type(error).__name__}"
        raise AgentFault(message, "agent_unreachable") from None


async def _feed(reader: Reader, chunks: AsyncIterator[bytes], url: str) -> None:
    length = 0
    async for chunk in chunks:
        length += len(chunk)
        if length > _STREAMED_AT_MOST * settings.MGX_MAX_OUTPUT_BYTES:
            message = f"The answer of {origin_of(url)} is longer than it may be"
            raise AgentFault(message, "unreadable_answer")
        reader.feed(chunk)


def _words(payload: bytes | None, hidden: str) -> str:
    """Return what a refusal says, where it says it as problem details or as model servers do."""
    try:
        document = without(hidden, loads_strict(payload or b""))
    except CanonicalError:
        return ""
    match document:
        case (
            {"detail": str(words)}
            | {"error": {"message": str(words)}}
            | {"error": str(words)}
            | {"title": str(words)}
            | {"message": str(words)}
        ):
            return words[:_LONGEST_WORDS]
    return ""


def without(hidden: str, value: Any) -> Any:
    """Return JSON with ``hidden`` taken out of all its texts, unless it is too short to be one."""
    if len(hidden) < _SHORTEST_HIDDEN:
        return value
    if isinstance(value, str):
        return value.replace(hidden, "…")
    if isinstance(value, list):
        return [without(hidden, each) for each in value]
    if isinstance(value, dict):
        return {without(hidden, key): without(hidden, each) for key, each in value.items()}
    return value
