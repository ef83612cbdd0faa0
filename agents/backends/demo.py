"""Agents that need no key and no network, for the demo: a planner and an executor.

They are deterministic: the same inputs make the same plan and the same report.
"""

import asyncio
from typing import Any

from workflows.handlers import StepContext

#: Long enough to be seen on the page, short enough not to bore.
_THINKING_SECONDS = 0.4


class DemoBackend:
    """Plays the part that ``config.part`` names: ``planner`` or ``executor``."""

    async def run(self, config: dict[str, Any], context: StepContext) -> Any:
        await asyncio.sleep(config.get("seconds", _THINKING_SECONDS))
        if config.get("part") == "executor":
            return carry_out(context.inputs.get("plan"))
        return make_plan(context.inputs.get("task"))


def make_plan(task: object) -> dict[str, Any]:
    """Return a plan for ``task``: a summary in Markdown, and its stages."""
    subject = str(task or "the release").strip() or "the release"
    stages = [
        {"action": "Deploy canary", "share_percent": 10, "wait_minutes": 15},
        {"action": "Widen", "share_percent": 50, "wait_minutes": 20},
        {"action": "Finish", "share_percent": 100, "wait_minutes": 0},
    ]
    return {
        "summary": (
            f"**{subject}** moves out in three stages.\n\n"
            "Each one waits for the error rate to stay below `1 %`, and rolls back by itself if it "
            "does not."
        ),
        "stages": [dict(stage, rollback="automatic") for stage in stages],
        "abort_on": "error_rate > 0.01",
    }


def carry_out(plan: object) -> dict[str, Any]:
    """Return the report of having carried out ``plan``."""
    stages = plan.get("stages") if isinstance(plan, dict) else None
    done = [stage.get("action", "stage") for stage in stages or [] if isinstance(stage, dict)]
    return {"status": "deployed", "stages_done": done, "plan": plan}
