"""Workflows: their definitions, their runs, and the engine that moves these.

The resolver's functions stand here: they are asked of plain definitions, without a database.
"""

from workflows.core.resolver import (
    can_execute_step_now,
    get_next_executable_steps,
    get_parallel_execution_groups,
    get_topological_order,
    resolve_execution_order,
    validate_workflow,
)

__all__ = [
    "can_execute_step_now",
    "get_next_executable_steps",
    "get_parallel_execution_groups",
    "get_topological_order",
    "resolve_execution_order",
    "validate_workflow",
]
