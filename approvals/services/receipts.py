"""Receipts: that a request was decided so, in a form that others can check."""

from typing import Any
from uuid import UUID

from workflows.models import User


def receipt(approval_id: UUID, *, user: User) -> dict[str, Any]:
    """Return the receipt of a request: its digest and the records of all its decisions.

    Raises NotVisible, and Conflict ``not_decided`` while there is no decision.
    """
    raise NotImplementedError


def check_receipt(document: object) -> list[str]:
    """Return a sentence for everything in a receipt that is not as it was issued; none: it is.

    It needs no secret: the hashes are recomputed, and compared with those on record here.
    """
    raise NotImplementedError
