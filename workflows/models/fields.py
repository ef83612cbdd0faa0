"""Fields of rows that are written for every step."""

from typing import Any

from django.db import models


class CheckedJSONField(models.JSONField):
    """JSON whose only writer has checked it (``workflows/core/canonical.py``).

    Django has SQLite parse the text once more in a CHECK of each such column, at every write.
    """

    def db_check(self, connection: Any) -> None:
        return None
