"""The REST door to approvals."""
