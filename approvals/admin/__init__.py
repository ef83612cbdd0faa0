"""The admin of approvals, a module for each noun."""

from approvals.admin import decisions, questions, requests, standing

__all__ = ["decisions", "questions", "requests", "standing"]
