"""Whose fault it is that an agent did not answer: its own, or that of what it was asked."""


class AgentFault(Exception):
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
