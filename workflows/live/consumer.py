"""The WebSocket ``/ws/events/?workspace=SLUG&after=SEQ``.

The server sends ``{"type": "event", "event": …}`` for each event after ``after``,
``{"type": "ready", "seq": n}`` when everything up to ``n`` was sent,
``{"type": "reset", "seq": n}`` when the cursor is too old or ahead (read the state anew, then go
on from ``n``), and ``{"type": "ping"}`` when there was nothing to say for a while. The client has
nothing to say.
"""

import asyncio
import json
import logging
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error as DatabaseError

from workflows.live import admission
from workflows.live.rights import CloseCode, Refused
from workflows.live.tailer import Reset, Subscription, tailer

logger = logging.getLogger("workflows.live")

_PING_SECONDS = 25.0
#: A socket that takes no frames for so long is closed; its client resumes from its cursor.
_STALLED_SECONDS = 20.0
#: Largest frame from the client, in bytes.
_MOST_BYTES = 65_536


class EventConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One socket. It touches the database only while connecting; the tailer reads for all."""

    _subscription: Subscription | None = None
    _sender: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in self.scope["headers"]
        }
        if not admission.is_own_origin(headers):
            await self.close()  # Before it was accepted: the client gets a plain HTTP 403.
            return
        live = tailer()
        try:
            request = await live.run(admission.admit, headers, self.scope["query_string"])
            self._subscription, is_reset = await live.subscribe(request)
        except Refused as refused:
            await self.accept()
            await self.close(refused.code, refused.reason)
            return
        except DatabaseError:
            await self.accept()
            await self.close(CloseCode.TRY_AGAIN, "The database does not answer")
            return
        offered = self.scope.get("subprotocols", [])
        await self.accept(admission.SUBPROTOCOL if admission.SUBPROTOCOL in offered else None)
        self._sender = asyncio.create_task(self._send_until_closed(self._subscription, is_reset))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if len(text_data.encode() if text_data is not None else bytes_data or b"") > _MOST_BYTES:
            await self.close(CloseCode.TOO_LARGE, "Frames have at most 64 KB")

    async def disconnect(self, code: int) -> None:
        if self._sender is not None:
            self._sender.cancel()
        if self._subscription is not None:
            tailer().unsubscribe(self._subscription)

    async def _send_until_closed(self, subscription: Subscription, is_reset: bool) -> None:
        try:
            if is_reset:
                await self._say(type="reset", seq=subscription.cursor)
            await self._send_events(subscription)
        except Refused as refused:
            await self.close(refused.code, refused.reason)
        except TimeoutError:
            await self.close(CloseCode.TRY_AGAIN, "Too slow; go on from the last event")
        except DatabaseError as error:
            logger.warning("A socket is closed for want of the database: %s", type(error).__name__)
            await self.close(CloseCode.TRY_AGAIN, "The database does not answer")
        except OSError:
            pass  # The client has gone; disconnect() follows.

    async def _send_events(self, subscription: Subscription) -> None:
        is_ready = False
        while True:
            if subscription.is_caught_up and not is_ready:
                is_ready = True
                await self._say(type="ready", seq=subscription.cursor)
            try:
                frames = await asyncio.wait_for(subscription.frames(), _PING_SECONDS)
            except Reset as reset:
                await self._say(type="reset", seq=reset.seq)
                continue
            except TimeoutError:
                await self._say(type="ping")
                continue
            async with asyncio.timeout(_STALLED_SECONDS):
                for frame in frames:
                    await self.send(frame)

    async def _say(self, **message: Any) -> None:
        async with asyncio.timeout(_STALLED_SECONDS):
            await self.send(json.dumps(message))


class UnknownPath(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Any other address: closed with a code, not with an error in the log."""

    async def connect(self) -> None:
        await self.accept()
        await self.close(CloseCode.NOT_FOUND, "There is nothing here")
