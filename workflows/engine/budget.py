"""How much one turn begins: what is more is begun in the turns that follow at once.

So a turn stays short, and what it writes is no more than a database takes, however many steps
become due together and however large their inputs are.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from workflows.engine.run import Run

STEPS_A_TURN = 2_000
BYTES_A_TURN = 16 * 2**20
_LAST = datetime.max.replace(tzinfo=UTC)


class Budget:
    """What one turn may still begin.

    As long as others come after it, a run takes no more than half of what is left.
    ``has_begun``: whether the run that has its share has taken any of it.
    """

    __slots__ = ("_bytes", "_kept_bytes", "_kept_steps", "_steps", "has_begun")

    def __init__(self) -> None:
        self._steps, self._bytes = STEPS_A_TURN, BYTES_A_TURN
        self._kept_steps = self._kept_bytes = 0
        self.has_begun = False

    @staticmethod
    def in_order(runs: Iterable[Run]) -> list[Run]:
        """Return the runs in the order of their shares: who has waited longest is the first."""
        return sorted(runs, key=lambda run: run.more_since or _LAST)

    def share(self, *, is_last: bool) -> None:
        """Let the next run begin something."""
        self.has_begun = False
        self._kept_steps = 0 if is_last else self._steps // 2
        self._kept_bytes = 0 if is_last else self._bytes // 2

    @property
    def is_spent(self) -> bool:
        """Whether the run has begun as much as it may in this turn."""
        return self._steps <= self._kept_steps or self._bytes <= self._kept_bytes

    def spend(self, *, steps: int = 0, size: int = 0) -> None:
        """Count steps that have moved, and about how many bytes are written for them."""
        self.has_begun = True
        self._steps -= steps
        self._bytes -= size
