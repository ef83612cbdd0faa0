"""A process that dies at a point of a test's choosing, as far as the database can tell."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from django.db import DEFAULT_DB_ALIAS, connections


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Death:
    """Counts the points at which a process can die, and lets it die at the one numbered ``at``."""

    at: int
    points: int = 0

    def point(self) -> None:
        self.points += 1
        if self.points == self.at:
            raise Crash

    @contextmanager
    def at_commits(self) -> Iterator[None]:
        """Let each commit in this block be two points; what was not committed is gone."""
        database = connections[DEFAULT_DB_ALIAS]
        commit = database.commit

        def deadly_commit() -> None:
            try:
                self.point()
            except Crash:
                database.rollback()
                raise
            commit()
            self.point()

        with patch.object(database, "commit", deadly_commit):
            yield
