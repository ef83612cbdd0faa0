"""What the pages show: runs that stand at a gate, and who looks at them."""

import pytest

from tests.gates import add_step, ask, start

__all__ = ["add_step", "approver", "ask", "start"]


@pytest.fixture
def approver(client_for):
    """The browser of the approver whom the example names."""
    return client_for("approver")
