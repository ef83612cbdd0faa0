"""What is wrong with the config of an agent, told when it is saved."""

from collections.abc import Mapping
from typing import Any

from django.utils.module_loading import import_string
from pydantic import ValidationError

from agents.models import AgentType

_MODELS: dict[str, str] = {
    AgentType.HTTP: "agents.backends.http.HttpConfig",
    AgentType.LLM: "agents.backends.llm.LlmConfig",
}
#: What an agent of any other type may say.
_OF_ALL = "agents.prices.SpendingConfig"
_HEARTBEAT = "agents.services.heartbeats.HeartbeatConfig"


def find_wrong_config(agent_type: str, config: Mapping[str, Any], *, is_whole: bool) -> list[str]:
    """Return what keeps an agent from running with this config, without its values.

    ``is_whole``: nothing will be put over it any more, so that nothing may be missing.
    """
    from agents.backends.calls import problems_of  # only who edits agents needs it

    found = []
    for path in (_MODELS.get(agent_type, _OF_ALL), _HEARTBEAT):
        try:
            import_string(path).model_validate(dict(config))
        except ValidationError as error:
            found += problems_of(error, besides="" if is_whole else "missing")
    return found
