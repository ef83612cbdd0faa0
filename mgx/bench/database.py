"""The database itself, the yardstick of everything else."""

import time

from django.db import connection, transaction

from mgx.bench.scene import Figures, Scene


def commits(scene: Scene, *, workers: int, size: int | None) -> Figures:
    """What the database itself does: single-row commits from one connection, the yardstick."""
    count = size or 2_000
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_commit (id integer PRIMARY KEY, note text)")
        begun = time.perf_counter()
        for number in range(count):
            with transaction.atomic():
                cursor.execute("INSERT INTO bench_commit VALUES (%s, %s)", [number, "x"])
        seconds = time.perf_counter() - begun
    return {
        "per_second": round(count / seconds, 1),
        "seconds": round(seconds, 3),
        "how": f"{count} transactions of one INSERT each, one after the other",
    }
