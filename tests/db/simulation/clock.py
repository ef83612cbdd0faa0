"""A clock that nobody waits for."""

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch


class Clock:
    """The time of everybody, which passes when somebody lets it."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)

    def now(self, _: Any = None) -> datetime:
        self.time += timedelta(microseconds=1)
        return self.time

    @contextmanager
    def rules(self, draw: random.Random) -> Iterator[None]:
        """Let product code see this clock on either database, and draw its identifiers."""
        modules = [m for m in list(sys.modules.values()) if hasattr(m, "now_sql")]
        with ExitStack() as stack:
            stack.enter_context(patch("workflows.clock.datetime", self))
            stack.enter_context(patch("workflows.clock.connection", SimpleNamespace(vendor="")))
            for module in modules:
                stack.enter_context(patch.object(module, "now_sql", lambda: "NULL"))
            entropy = SimpleNamespace(urandom=draw.randbytes)
            ticks = SimpleNamespace(time_ns=lambda: int(self.now().timestamp() * 1e9))
            stack.enter_context(patch("workflows.core.ids.os", entropy))
            stack.enter_context(patch("workflows.core.ids.time", ticks))
            yield
