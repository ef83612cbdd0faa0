"""What of agents' configurations and texts is never shown: whatever opens a door.

Every pattern takes time in proportion to the text, whoever wrote it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.conf import settings

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
    (re.compile(r"\b(?:sk|pk|rk|gh[a-z]|github_pat|glpat|xox[a-z]|mgx)[-_][\w-]{12,}"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\beyJ[\w-]{10,1000}+\.[\w.-]+"), MASK),
)
_PARAMETER_NAME: Final = re.compile(r"(?:key|token|secret|passw\w*|sig\w*)\Z", re.IGNORECASE)
#: A parameter of an address, and a name with its text in JSON, which may have been cut off.
_PARAMETER: Final = re.compile(r"([?&;])([\w.-]+)=([^&#\s]+)")
_MEMBER: Final = re.compile(r'("([^"\\]{1,100})"\s*:\s*)"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_SHORTEST: Final = 8
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
    for secret in _sent_to_agents():
        text = text.replace(secret, MASK)
    for pattern, instead in _SECRET_TEXTS:
        text = pattern.sub(instead, text)
    return _PARAMETER.sub(_parameter, _MEMBER.sub(_member, text))


def _sent_to_agents() -> Iterator[str]:
    """Yield the secrets of the environment that agents are sent; a shorter one is none."""
    names = (entry.partition("@")[0] for entry in settings.MGX_AGENT_SECRETS)
    for secret in (settings.LLM_API_KEY, *(os.environ.get(name, "") for name in names)):
        if len(secret.strip()) >= _SHORTEST:
            yield secret.strip()


def _masked(name: str, value: Any) -> Any:
    is_count = isinstance(value, int | float) and "token" in name.lower()
    if not _SECRET_NAME.search(name) or value in (None, "", [], {}) or is_count:
        return without_secrets(value)
    return value if isinstance(value, bool) else MASK


def _parameter(found: re.Match[str]) -> str:
    sign, name, _ = found.groups()
    return f"{sign}{name}={MASK}" if _PARAMETER_NAME.search(name[-100:]) else found[0]


def _member(found: re.Match[str]) -> str:
    return f'{found[1]}"{MASK}"' if _SECRET_NAME.search(found[2]) else found[0]
