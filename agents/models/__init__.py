"""The tables of the ``agents`` app, one noun a module."""

from agents.models.conversations import AgentMessage, AgentPause, MessageRole
from agents.models.definitions import AgentDefinition, AgentInstance, AgentStatus, AgentType
from agents.models.memory import (
    AgentHandoff,
    AgentMemory,
    AgentMemoryEntry,
    AgentMemoryPast,
    AgentMemoryText,
    MemoryChange,
)
from agents.models.reservations import AgentReservation, AgentWait
from agents.models.tool_servers import ToolServer
from agents.models.usage import AgentBudgetAnswer, AgentLoss, AgentUsage

__all__ = [
    "AgentBudgetAnswer",
    "AgentDefinition",
    "AgentHandoff",
    "AgentInstance",
    "AgentLoss",
    "AgentMemory",
    "AgentMemoryEntry",
    "AgentMemoryPast",
    "AgentMemoryText",
    "AgentMessage",
    "AgentPause",
    "AgentReservation",
    "AgentStatus",
    "AgentType",
    "AgentUsage",
    "AgentWait",
    "MemoryChange",
    "MessageRole",
    "ToolServer",
]
