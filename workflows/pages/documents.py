"""JSON as people read it, bounded so that no page grows with what a step returned."""

from __future__ import annotations

import json
from typing import Any, Final

LONGEST: Final = 20_000


def show_json(value: Any, longest: int = LONGEST) -> str:
    """Indented JSON; what is longer ends with a line that says how much is left out."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if len(text) <= longest:
        return text
    return f"{text[:longest]}\n… {len(text) - longest:,} more characters"


def shorten(text: str, longest: int = 160) -> str:
    """The first line of a text, cut at a length that fits a line of a list."""
    first = text.strip().partition("\n")[0]
    return first if len(first) <= longest else first[: longest - 1].rstrip() + "…"
