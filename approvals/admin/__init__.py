"""The admin of approvals, a module for each noun."""

from approvals.admin import decisions, requests

__all__ = ["decisions", "requests"]
