"""A tool that a tool server offers: what is kept of it, and what an agent's body is given."""

from dataclasses import dataclass, field
from typing import Any, Final

#: Between the slug of a server and the name of its tool, in an agent's ``tools``.
SEPARATOR: Final = "/"


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool of a server at ``url``, with what calling it takes. ``parameters``: the JSON Schema
    of its arguments; ``secret_env``: the variable with the server's bearer token, or ""."""

    server: str
    url: str
    secret_env: str = field(repr=False)
    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NoOffer:
    """There is no such tool, and why."""

    why: str


def split_name(name: str) -> tuple[str, str]:
    """Return the slug of a server and the name of its tool; "" for the slug of any other tool."""
    server, separator, tool = name.partition(SEPARATOR)
    return (server, tool) if separator else ("", name)
