"""Whose fault it is that an agent did not answer: its own, or that of what it was asked."""

from concurrent.futures import BrokenExecutor

from workflows.handlers import WorkerFault
from workflows.tasks import TaskFailure


class AgentFault(WorkerFault):
    """The agent failed: it cannot be reached, breaks off, answers too late or answers nonsense.

    Another agent may do better with the same inputs.
    """

    def __init__(self, message: str, code: str = "agent_fault") -> None:
        super().__init__(message)
        self.code = code


class InputFault(Exception):
    """The agent refuses what it was asked; neither another attempt nor another agent helps."""

    def __init__(self, message: str, code: str = "refused_inputs") -> None:
        super().__init__(message)
        self.code = code


def fault_in(error: BaseException) -> AgentFault | None:
    """Return the agent's own fault that an exception of whatever it calls stands for, if any.

    A connection, a time limit, a server that fails, a process that dies: the same inputs may do
    well elsewhere. Any other exception is as likely to be the inputs', and marks nobody.
    """
    match error:
        case AgentFault():
            return error
        case ConnectionError():
            code = "agent_unreachable"
        case TimeoutError():
            code = "agent_timeout"
        case SystemExit() | MemoryError() | BrokenExecutor():
            code = "agent_crashed"
        case TaskFailure(code=code) if code in _OF_A_SERVICE or code.startswith("http_5"):
            return AgentFault(str(error), code)
        case _:
            return None
    return AgentFault(f"{type(error).__name__}: {error}", code)


#: Codes of ``http.request``, called as an agent.
_OF_A_SERVICE = frozenset({"timeout", "http_unreachable"})
