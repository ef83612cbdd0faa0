"""The admin: what operators read, and what editors write, a module for each noun.

Rows that the engine writes are read-only everywhere; verbs go through the services.
"""

from workflows.admin import engine, executions, people, schedules, tenants, webhooks, workflows

__all__ = ["engine", "executions", "people", "schedules", "tenants", "webhooks", "workflows"]
