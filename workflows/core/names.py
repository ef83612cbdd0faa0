"""What things may be called, and when two names are the same to a reader."""

import re
import unicodedata
from collections.abc import Container, Iterator
from typing import Annotated, Any, Final

from pydantic import AfterValidator, StringConstraints, ValidationInfo
from pydantic_core import PydanticCustomError

# What references begin with, and CEL's own words: `${item}` can only mean one thing.
RESERVED_NAMES = frozenset(
    ("steps", "variables", "execution", "revision", "item", "index", "true", "false", "null", "in")
)

# What stands behind a step's name in the rows of a block that runs in rounds.
_POSITION = re.compile(r"\[\d+\]$")

# What nothing is drawn for, though its category says nothing of it: Default_Ignorable_Code_Point
# (Unicode Standard 5.21; DerivedCoreProperties.txt), and U+2800, the braille cell without dots.
_NOT_DRAWN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Asks for the coloured picture of the symbol before it: "🛠️" is typed like that. Most such symbols
# are of a category S; these are the others (emoji-variation-sequences.txt).
_EMOJI_STYLE: Final = "\ufe0f"
_STYLED: Final = frozenset("#*0123456789\u203c\u2049\u2139\u3030\u303d")
# Ask for one of the shapes of the ideograph before them, as names of people and places have it.
_IDEOGRAPH_SHAPES: Final = re.compile("[\U000e0100-\U000e01ef]")
# Both are accepted there, and nothing that tells two names apart.
_SHAPES: Final = re.compile(f"{_EMOJI_STYLE}|{_IDEOGRAPH_SHAPES.pattern}")

#: How many characters a name may have.
MAX_NAME: Final = 200

#: The context in which names are read that were accepted before, perhaps by an older release.
STORED: Final[dict[str, Any]] = {"is_stored": True}


def fold_name(name: str) -> str:
    """Return what two names have in common that a reader could not tell apart."""
    composed = unicodedata.normalize("NFC", _SHAPES.sub("", name))
    return " ".join(unicodedata.normalize("NFC", composed.casefold()).split())


def name_in_definition(row_name: str, known: Container[str]) -> str:
    """Return the name in the definition of the step that a row `check[3]` belongs to.

    `known`: the names of the definition; one of them may itself end like a position.
    """
    name = row_name
    while name not in known and (position := _POSITION.search(name)):
        name = name[: position.start()]
    return name


def without_positions(name: str) -> Iterator[str]:
    """Yield what is left of a name that ends like positions: of `a[0][1]`, `a[0]` and `a`."""
    while position := _POSITION.search(name):
        name = name[: position.start()]
        yield name


def _visible(name: str, info: ValidationInfo) -> str:
    if not name.strip():
        raise PydanticCustomError("blank", "is blank")
    if name != name.strip():
        raise PydanticCustomError("invalid_name", "begins or ends with white space")
    if name.isascii() and name.isprintable():
        return name
    for before, character in zip(" " + name, name, strict=False):
        # Cc: control; Cf: bidi marks, zero width; Zl, Zp: line breaks; Cs: lone surrogates.
        is_hidden = unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs")
        if is_hidden or (info.context is not STORED and _is_not_drawn(character, before)):
            raise PydanticCustomError(
                "invalid_name",
                "holds the invisible character U+{code}",
                {"code": f"{ord(character):04X}"},
            )
    return name


def _is_not_drawn(character: str, before: str) -> bool:
    if _NOT_DRAWN.match(character) is None:
        return False
    if character == _EMOJI_STYLE:
        return before not in _STYLED and not unicodedata.category(before).startswith("S")
    is_ideograph = unicodedata.name(before, "").startswith("CJK ")
    return not (is_ideograph and _IDEOGRAPH_SHAPES.match(character))


def _unreserved(name: str) -> str:
    if name in RESERVED_NAMES:
        raise PydanticCustomError(
            "reserved_name", "is '{name}', which has a meaning of its own", {"name": name}
        )
    return name


Name = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_NAME), AfterValidator(_visible)
]
VariableName = Annotated[
    str,
    StringConstraints(max_length=MAX_NAME, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
    AfterValidator(_unreserved),
]
