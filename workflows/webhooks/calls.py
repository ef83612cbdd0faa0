"""One call: what is posted where, and what came back. It knows no database."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from workflows.net import ForbiddenAddress, UnknownHost
from workflows.webhooks.signing import sign

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 10.0
#: How much of an answer is kept, in characters.
EXCERPT = 500
_BYTES_READ = 4_096


@dataclass(frozen=True, slots=True)
class Call:
    """A message to an address, and the secrets that it is signed with."""

    message_id: str
    url: str = field(repr=False)
    body: str = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to; without ``status`` there was none, and ``error`` says why.

    ``is_final``: trying again would come to the same.
    """

    status: int | None = None
    excerpt: str = ""
    error: str = ""
    is_final: bool = False

    @property
    def is_ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more calls."""
        return self.status == 410


def post(call: Call) -> Answer:
    """Make a call, and wait for its answer at most ``TIMEOUT_SECONDS``; raise nothing."""
    import httpx

    try:
        return asyncio.run(_post(call))
    except (TimeoutError, httpx.TimeoutException):
        return Answer(error=f"No answer within {TIMEOUT_SECONDS:g} seconds")
    except ForbiddenAddress as error:
        return Answer(error=str(error), is_final=True)
    except UnknownHost as error:
        return Answer(error=str(error))
    except httpx.ConnectError:
        return Answer(error="The address cannot be reached")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        # Not its text: that may hold the address, with what is secret in it.
        return Answer(error=f"The call failed: {type(error).__name__}")


async def _post(call: Call) -> Answer:
    from workflows.transport import guarded_client

    seconds = int(time.time())
    moment = datetime.fromtimestamp(seconds, UTC)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": call.message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": sign(
            call.keys, message_id=call.message_id, moment=moment, body=call.body
        ),
    }
    async with (
        asyncio.timeout(TIMEOUT_SECONDS),
        guarded_client(TIMEOUT_SECONDS) as client,
        client.stream("POST", call.url, headers=headers, content=call.body.encode()) as response,
    ):
        excerpt = await _excerpt(response)
        error = "" if response.is_success else f"Answered with status {response.status_code}"
        return Answer(response.status_code, excerpt, error)


async def _excerpt(response: "httpx.Response") -> str:
    """Return the beginning of an answer's body; what comes after it is not read."""
    start = b""
    async for chunk in response.aiter_raw():
        start += chunk
        if len(start) >= _BYTES_READ:
            break
    text = start[:_BYTES_READ].decode("utf-8", "replace").replace("\0", "�")
    return text[:EXCERPT]
