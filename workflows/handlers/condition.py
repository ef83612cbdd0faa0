"""Steps of type ``condition``: true completes the step, false skips it.

The engine has evaluated ``condition_expression`` before a step of any type runs, and skipped it
where it is false; what is left to do here is to say that it was true.
"""

from workflows.core.outcomes import Completed, Outcome
from workflows.handlers import StepContext


class ConditionHandler:
    """Completes with ``{"result": true}``."""

    async def run(self, context: StepContext) -> Outcome:
        return Completed({"result": True})
