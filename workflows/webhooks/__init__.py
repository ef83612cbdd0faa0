"""Calls to addresses outside, as Standard Webhooks lays down: what is called for, and how."""
