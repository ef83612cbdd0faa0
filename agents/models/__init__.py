"""The tables of the ``agents`` app, one noun a module."""

from agents.models.definitions import AgentDefinition, AgentInstance, AgentStatus, AgentType
from agents.models.memory import (
    AgentHandoff,
    AgentMemory,
    AgentMemoryEntry,
    AgentMemoryText,
)
from agents.models.reservations import AgentReservation, AgentWait

__all__ = [
    "AgentDefinition",
    "AgentHandoff",
    "AgentInstance",
    "AgentMemory",
    "AgentMemoryEntry",
    "AgentMemoryText",
    "AgentReservation",
    "AgentStatus",
    "AgentType",
    "AgentWait",
]
