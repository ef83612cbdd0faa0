"""The secret key of an installation that names none."""

import secrets
from pathlib import Path


def local_secret_key(directory: Path) -> str:
    """Return the key kept in ``directory``, made at random on the first call.

    The file is readable by its owner only. Two processes that start together agree: the one
    that creates the file wins, the other one reads it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "secret.key"
    try:
        with path.open("x", encoding="ascii") as file:
            path.chmod(0o600)
            file.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    return path.read_text("ascii")
