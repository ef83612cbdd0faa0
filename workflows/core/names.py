"""What things may be called, and when two names are the same to a reader."""

import re
import unicodedata
from collections.abc import Container
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

# What references begin with, and CEL's own words: `${item}` can only mean one thing.
RESERVED_NAMES = frozenset(
    ("steps", "variables", "execution", "revision", "item", "index", "true", "false", "null", "in")
)

# What stands behind a step's name in the rows of a block that runs in rounds.
_POSITION = re.compile(r"\[\d+\]$")


def fold_name(name: str) -> str:
    """Return what two names have in common that a reader could not tell apart."""
    composed = unicodedata.normalize("NFC", name)
    return " ".join(unicodedata.normalize("NFC", composed.casefold()).split())


def name_in_definition(row_name: str, known: Container[str]) -> str:
    """Return the name in the definition of the step that a row `check[3]` belongs to.

    `known`: the names of the definition; one of them may itself end like a position.
    """
    name = row_name
    while name not in known and (position := _POSITION.search(name)):
        name = name[: position.start()]
    return name


def _visible(name: str) -> str:
    if not name.strip():
        raise PydanticCustomError("blank", "is blank")
    if name != name.strip():
        raise PydanticCustomError("invalid_name", "begins or ends with white space")
    if name.isascii() and name.isprintable():
        return name
    for character in name:
        # Cc: control; Cf: bidi marks, zero width; Zl, Zp: line breaks; Cs: lone surrogates.
        if unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs"):
            raise PydanticCustomError(
                "invalid_name",
                "holds the invisible character U+{code}",
                {"code": f"{ord(character):04X}"},
            )
    return name


def _unreserved(name: str) -> str:
    if name in RESERVED_NAMES:
        raise PydanticCustomError(
            "reserved_name", "is '{name}', which has a meaning of its own", {"name": name}
        )
    return name


Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_visible)]
VariableName = Annotated[
    str,
    StringConstraints(max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
    AfterValidator(_unreserved),
]
