"""A driver without threads: each turn is taken when the test says so."""

import asyncio
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from workflows.clock import database_now
from workflows.core.outcomes import Completed, Outcome
from workflows.engine import leases
from workflows.engine.bodies import run_body
from workflows.engine.holdings import AfterCommit, Holdings
from workflows.engine.inputs import dump_json
from workflows.engine.turn import Result
from workflows.handlers import StepContext


class DriverByHand:
    """Takes turns as ``workflows/engine/writer.py`` does, one at a time.

    Attributes:
        holdings: what it owns.
        begun: the attempts whose bodies have to run, by the name of the step.
    """

    def __init__(self) -> None:
        self.holdings = Holdings(leases.register())
        self.begun: dict[str, StepContext] = {}
        self.cancelled: list[Any] = []
        self.stopped: list[Any] = []

    def turn(
        self, *results: Result, drivers: int = 1, ahead: float = 0.0, **how: bool
    ) -> AfterCommit:
        """Take one turn: look at everything, and claim all there is, unless told otherwise.

        ``ahead``: by how many seconds the turn is later than now.
        """
        options = {"has_hint": True, "is_inventory": True, "is_draining": False} | how
        hold = leases.hold

        def hold_later(*given: Any) -> leases.Held:
            held = hold(*given)
            return held._replace(now=held.now + timedelta(seconds=ahead))

        with patch.object(leases, "hold", hold_later):
            after = self.holdings.take_turn(
                list(results),
                about=database_now() + timedelta(seconds=ahead),
                drivers=drivers,
                **options,
            )
        self.begun |= {context.name: context for context in after.start}
        self.cancelled += after.cancel
        self.stopped += after.cancel_attempts
        return after

    def result(self, step: str, outcome: Outcome | None = None) -> Result:
        """Return the result of an attempt that has begun; by default it succeeds."""
        context = self.begun.pop(step)
        return result_of(context, outcome or Completed({"by": step}, dump_json({"by": step})))

    def finish(self, *steps: str) -> AfterCommit:
        """Take a turn in which these steps succeed."""
        return self.turn(*[self.result(step) for step in steps])

    def work(self) -> None:
        """Take turns and run bodies until there is nothing left to do now."""
        self.turn()
        while self.begun:
            contexts, self.begun = self.begun, {}
            self.turn(*[result_of(c, asyncio.run(run_body(c))) for c in contexts.values()])


def result_of(context: StepContext, outcome: Outcome) -> Result:
    return Result.of(context, outcome)
