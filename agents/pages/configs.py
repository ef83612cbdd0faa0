"""An agent's configuration as a page shows it: nothing in it that opens a door."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "••••••"

#: Names whose values nobody needs to see. `max_tokens` is a number and stays.
_SECRET_NAME: Final = re.compile(
    r"secret|token|passw|passphrase|pwd|key$|api[-_]?key|credential|authori[sz]ation|cookie"
    r"|private|signature|salt$",
    re.IGNORECASE,
)
#: What gives itself away wherever it stands.
_SECRET_TEXTS: Final = (
    (re.compile(r"-----BEGIN [A-Z ]+-----.*?(-----END [A-Z ]+-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {MASK}"),
    (re.compile(r"(\w://)[^\s/@]+@"), rf"\1{MASK}@"),
    (
        re.compile(r"(?i)([?&;][\w.-]*(?:key|token|secret|passw\w*|sig\w*)=)[^&#\s]+"),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b(?:sk|pk|rk|gh[a-z]|github_pat|glpat|xox[a-z]|mgx)[-_][\w-]{12,}"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\beyJ[\w-]{10,}\.[\w.-]+"), MASK),
)
#: One long word of letters and digits is a key, unless it is an identifier.
_LONG_WORD: Final = re.compile(r"(?=[^\d]*\d)(?=[^a-zA-Z]*[a-zA-Z])[A-Za-z0-9+/_=-]{32,}")
_IDENTIFIER: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def without_secrets(value: Any) -> Any:
    """Return JSON with a mask in the place of everything that looks like a secret or a key."""
    if isinstance(value, Mapping):
        return {name: _masked(name, each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_secrets(each) for each in value]
    return text_without_secrets(value) if isinstance(value, str) else value


def text_without_secrets(text: str) -> str:
    """Return a text with a mask in the place of what looks like a secret or a key."""
    if _LONG_WORD.fullmatch(text) and not _IDENTIFIER.fullmatch(text):
        return MASK
    for pattern, instead in _SECRET_TEXTS:
        text = pattern.sub(instead, text)
    return text


def _masked(name: str, value: Any) -> Any:
    is_count = isinstance(value, int | float) and "token" in name.lower()
    if not _SECRET_NAME.search(name) or value in (None, "", [], {}) or is_count:
        return without_secrets(value)
    return value if isinstance(value, bool) else MASK
