"""Agents that need no key and no network, for the demo: a planner and an executor.

They are deterministic: the same inputs, and the same feedback, make the same plan and report.
"""

import asyncio
import re
from typing import Any

from workflows.handlers import StepContext

#: Long enough to be seen on the page, short enough not to bore.
_THINKING_SECONDS = 0.4
#: A share that is asked for: from 1 to 100, as "5 %" or "5 percent".
_PERCENT = re.compile(r"\b(100|[1-9]\d?) ?(?:%|percent)")


class DemoBackend:
    """Plays the part that ``config.part`` names: ``planner`` or ``executor``. One that ``is_down``
    answers nobody, so that another one takes over."""

    async def run(self, config: dict[str, Any], context: StepContext) -> Any:
        await asyncio.sleep(config.get("seconds", _THINKING_SECONDS))
        if config.get("is_down"):
            raise ConnectionError("The agent does not answer")
        if config.get("part") == "executor":
            return carry_out(context.inputs.get("plan"))
        plan = make_plan(context.inputs.get("task"))
        if not context.feedback:
            return plan
        return revise_plan(_plan_in(context.previous) or plan, context.feedback)


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


def revise_plan(plan: dict[str, Any], feedback: str) -> dict[str, Any]:
    """Return ``plan`` with a smaller first stage that waits longer: of as many percent as the
    feedback names, or of half as many. ``answers`` says where each line of it was heeded."""
    asked = _PERCENT.search(feedback)
    first = dict(plan["stages"][0])
    first["share_percent"] = int(asked[1]) if asked else max(1, first["share_percent"] // 2)
    first["wait_minutes"] *= 2
    words = [line.strip() for line in feedback.splitlines() if line.strip()]
    return {
        **plan,
        "stages": [first, *plan["stages"][1:]],
        "answers": [{"feedback": line, "path": "/stages/0/share_percent"} for line in words],
    }


def _plan_in(previous: Any) -> dict[str, Any] | None:
    """Return what the agent made before, if it is a plan."""
    match previous:
        case {"stages": [{"share_percent": int(), "wait_minutes": int()}, *_]}:
            return dict(previous)
    return None


def carry_out(plan: object) -> dict[str, Any]:
    """Return the report of having carried out ``plan``."""
    stages = plan.get("stages") if isinstance(plan, dict) else None
    done = [stage.get("action", "stage") for stage in stages or [] if isinstance(stage, dict)]
    return {"status": "deployed", "stages_done": done, "plan": plan}
