"""Asks after a test what ``manage.py verify`` asks of a live database."""

from mgx.verify import find_violations
from workflows.invariants.asking import Query


def assert_invariants(query: Query) -> None:
    """Fail with everything that does not hold. ``query`` needs no Django."""
    violations = list(find_violations(query))
    assert not violations, "\n".join(violations)
