"""Which steps may run together that were there when workers died.

One of them may be the cause. The fewer deaths a step has left, the fewer others run beside it,
so the guilty one comes to run alone before an innocent one is given up. (A worker's death may be
followed by that of its whole cluster, which counts for all that run there.)
"""

from collections.abc import Collection
from uuid import UUID

from django.conf import settings

from workflows.bulk import as_uuid, select

#: Deaths after which a step is a suspect; every step that runs may be there at one.
_FROM = 2
#: Suspects that run together; one whose last two deaths are left runs alone.
_TOGETHER = 16
_LAST_DEATHS = 2


class Suspects:
    """The suspects that run, of all drivers, as one turn sees and adds to them."""

    __slots__ = ("_crashes",)

    def __init__(self) -> None:
        self._crashes: list[int] | None = None

    def admit(self, crashes: int, known: Collection[UUID]) -> bool:
        """Tell whether a step may run whose worker died ``crashes`` times, and count it in.

        ``known``: steps that this turn writes; what their rows say now is past.
        """
        if crashes < _FROM:
            return True
        if self._crashes is None:
            self._crashes = _running(known)
        together = min(map(_limit, [crashes, *self._crashes]))
        if len(self._crashes) >= together:
            return False
        self._crashes.append(crashes)
        return True


def _limit(crashes: int) -> int:
    return _TOGETHER if settings.MGX_MAX_CRASHES - crashes > _LAST_DEATHS else 1


def _running(known: Collection[UUID]) -> list[int]:
    rows = select(
        "SELECT step.id, step.crashes FROM workflows_workflowexecution run"
        " JOIN workflows_workflowstepexecution step ON step.execution_id = run.id"
        " WHERE run.driver_id IS NOT NULL AND step.status = 'running' AND step.crashes >= %s",
        _FROM,
    )
    return [crashes for step_id, crashes in rows if as_uuid(step_id) not in known]
