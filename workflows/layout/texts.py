"""How wide a text is in the pages' font, for boxes that are laid out where no browser is."""

from __future__ import annotations

from typing import Final

# The advance widths of the printable ASCII characters in the pages' font, in hundredths of an em.
# fmt: off
_WIDTHS: Final = (
    26, 31, 51, 64, 65, 100, 66, 32, 37, 37, 53, 67, 31, 46, 31, 38, 65, 42, 62, 63, 66, 61, 64, 57,
    64, 64, 31, 32, 67, 67, 67, 54, 99, 72, 66, 74, 72, 60, 59, 75, 75, 27, 58, 70, 57, 92, 76, 77,
    64, 77, 65, 65, 66, 74, 72, 101, 71, 71, 65, 37, 38, 37, 48, 47, 35, 57, 62, 58, 62, 59, 39, 62,
    61, 26, 26, 57, 26, 90, 61, 61, 62, 62, 39, 54, 35, 61, 58, 84, 56, 58, 56, 45, 35, 45, 67,
)
# fmt: on
_WIDTH_ELSEWHERE: Final = 62
_WIDTH_FULL: Final = 100


def text_width(text: str, size: float) -> float:
    """A text's width in pixels; what is not ASCII is estimated."""
    total = 0
    for character in text:
        code = ord(character)
        if 32 <= code < 127:
            total += _WIDTHS[code - 32]
        else:
            total += _WIDTH_FULL if code > 0x2E7F else _WIDTH_ELSEWHERE
    return total * size / 100


def fit_text(text: str, room: float, size: float) -> str:
    """The text, cut with an ellipsis where it would leave its box."""
    if text_width(text, size) <= room:
        return text
    room -= size
    for index, character in enumerate(text):
        room -= text_width(character, size)
        if room < 0:
            return text[:index].rstrip() + "…"
    return text
