"""What runs an agent: one module a type, one line each in ``_BACKENDS``."""

from functools import cache
from typing import Any, Protocol

from django.utils.module_loading import import_string

from agents.models import AgentType
from workflows.handlers import StepContext

_BACKENDS = {
    AgentType.PYTHON: "agents.backends.python.PythonBackend",
    AgentType.DEMO: "agents.backends.demo.DemoBackend",
    AgentType.HTTP: "agents.backends.http.HttpBackend",
    AgentType.LLM: "agents.backends.llm.LlmBackend",
}


class Backend(Protocol):
    async def run(self, config: dict[str, Any], context: StepContext) -> Any:
        """Return the agent's answer to ``context.inputs``, as JSON, or what it asks people first.

        ``config`` is the definition's with the instance's over it. Whatever is raised fails the
        attempt; AgentFault and InputFault say whose fault it is (``agents/faults.py``).
        """
        ...


@cache
def backend(agent_type: str) -> Backend:
    """Return the backend of an agent type."""
    made: Backend = import_string(_BACKENDS[AgentType(agent_type)])()
    return made
