"""What a workspace lays down for all of its workflows: the keys of its ``settings``."""

from collections.abc import Mapping
from typing import Any

from workflows.core.errors import Problem, json_pointer

#: A gate that names approvers may not approve itself, neither early nor when its time is up.
FORBID_AUTO_APPROVAL = "forbid_auto_approval"
#: Whoever started a run cannot decide on it, whatever its gates say.
PREVENT_SELF_APPROVAL = "prevent_self_approval"
#: Nothing is approved ahead: no grant can be given, and those that were given do not count.
FORBID_STANDING_GRANTS = "forbid_standing_grants"
#: Days for which ended runs are kept, 0 for ever; where it is missing, as the installation says.
RETENTION_DAYS = "retention_days"
#: How many steps the agents of the workspace have at once, all together.
MAX_AGENT_STEPS = "max_agent_steps"
#: What the agents of the workspace may spend in a calendar month (UTC), all together: tokens, and
#: money in the unit of their prices. Beyond that, people are asked.
MONTHLY_AGENT_TOKENS = "monthly_agent_tokens"
MONTHLY_AGENT_COST = "monthly_agent_cost"

_FLAGS = (FORBID_AUTO_APPROVAL, PREVENT_SELF_APPROVAL, FORBID_STANDING_GRANTS)
#: The settings that are whole numbers, with the least and the most of each.
_NUMBERS = {
    RETENTION_DAYS: (0, 36_500),
    MAX_AGENT_STEPS: (1, 100_000),
    MONTHLY_AGENT_TOKENS: (0, 10**15),
}
_HIGHEST_COST = 10**9


def check_settings(settings: Mapping[str, Any]) -> list[Problem]:
    """Return everything that is wrong with the settings of a workspace."""
    problems = []
    for key, value in settings.items():
        if key in _FLAGS:
            if not isinstance(value, bool):
                problems.append(_problem(key, "wrong_type", f"“{key}” is true or false"))
        elif key in _NUMBERS:
            least, most = _NUMBERS[key]
            is_number = isinstance(value, int) and not isinstance(value, bool)
            if not is_number or not least <= value <= most:
                words = f"“{key}” is a whole number from {least} to {most:,}"
                problems.append(_problem(key, "out_of_range", words))
        elif key == MONTHLY_AGENT_COST:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= _HIGHEST_COST:  # which no NaN is
                words = f"“{key}” is a number from 0 to {_HIGHEST_COST:,}"
                problems.append(_problem(key, "out_of_range", words))
        else:
            known = ", ".join((*_FLAGS, *_NUMBERS, MONTHLY_AGENT_COST))
            problems.append(
                _problem(key, "unknown_setting", f"There is no “{key}”; there are {known}")
            )
    return problems


def _problem(key: str, code: str, message: str) -> Problem:
    return Problem("", code, message, json_pointer([key]))
