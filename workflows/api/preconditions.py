"""Lost updates are refused: the ETag of a workflow is the revision of its draft."""

import re

from rest_framework.request import Request

from workflows.errors import StaleRevision

# A proxy that compresses an answer makes its tag a weak one; the revision is the same.
_TAG = re.compile(r'(?:W/)?"(\d{1,9})"')


def etag(revision: int) -> str:
    """Return the tag of a revision."""
    return f'"{revision}"'


def expected_revision(request: Request) -> int | None:
    """Return the revision that ``If-Match`` asks for, or None where any will do.

    Raises:
        StaleRevision: the tag is none of a revision.
    """
    sent = request.headers.get("If-Match", "*").strip()
    if sent == "*":
        return None
    match = _TAG.fullmatch(sent)
    if match is None:
        raise StaleRevision("If-Match is no tag of this workflow. Read it again.")
    return int(match[1])
