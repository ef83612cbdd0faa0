"""``manage.py up``: web and engine under one small process that keeps both alive.

The supervisor itself knows no Django and asks nothing of anybody: each child says that it is
well, over a pipe, and is replaced with its whole process group when it dies or falls silent.
What *well* means is each child's own affair: ``web`` asks itself for ``/livez``, the cluster
sends a task through its own queue and looks at its drivers' heartbeats (``watch``).
"""
