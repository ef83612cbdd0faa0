"""The icons of the pages and of the picture of a workflow: one drawing a name, on a 16 by 16 grid.

Strokes take the colour of the text around them, so that an icon always agrees with its word.
"""

from __future__ import annotations

from typing import Final

_CIRCLE = '<circle cx="8" cy="8" r="6"/>'
_BARS = (
    '<rect x="2" y="9.5" width="3" height="4.5" rx=".8"{0}/>'
    '<rect x="6.5" y="6" width="3" height="8" rx=".8"{1}/>'
    '<rect x="11" y="2" width="3" height="12" rx=".8"{2}/>'
)
_SOLID = ' fill="currentColor" stroke="none"'
_FAINT = ' fill="currentColor" stroke="none" opacity=".32"'

ICONS: Final[dict[str, str]] = {
    # Statuses
    "clock": f'{_CIRCLE}<path d="M8 4.8V8l2.2 1.6"/>',
    "arc": '<path d="M8 2a6 6 0 1 1-5.2 3"/><path d="M8 5v3.2l2 1.2"/>',
    "loop": '<path d="M13.2 6.4A5.6 5.6 0 1 0 13.6 9"/><path d="M13.6 2.8v3.7H9.9"/>',
    "tick": f'{_CIRCLE}<path d="m5.4 8.2 1.9 1.8 3.4-3.7"/>',
    "cross": f'{_CIRCLE}<path d="m6 6 4 4m0-4-4 4"/>',
    "triangle": '<path d="M8 2.4 14.2 13H1.8Z"/><path d="M8 6.4v3.1m0 1.6v.2"/>',
    "bars": f'{_CIRCLE}<path d="M6.5 6v4m3-4v4"/>',
    "dashes": '<circle cx="8" cy="8" r="6" stroke-dasharray="2.4 2.3"/>',
    "arrows": '<path d="M2.5 4v8l5-4Z"/><path d="M8 4v8l5-4Z"/>',
    "slash": f'{_CIRCLE}<path d="m4 12 8-8"/>',
    "ring": _CIRCLE,
    # Step types
    "document": '<path d="M4 1.8h5l3.2 3.2v9.2H4Z"/><path d="M6.2 8h3.6m-3.6 2.8h3.6"/>',
    "robot": (
        '<rect x="2.4" y="5.4" width="11.2" height="8" rx="2"/>'
        '<path d="M8 5.2V2.6m-2.2 6v1m4.4-1v1"/>'
    ),
    "person": (
        '<circle cx="8" cy="5.2" r="2.7"/><path d="M3 13.8c.3-2.9 2.3-4.3 5-4.3s4.7 1.4 5 4.3"/>'
    ),
    "diamond": '<path d="m8 2 6 6-6 6-6-6Z"/>',
    "fork": '<path d="M2 8h3m0 0 3-4h5M5 8l3 4h5"/>',
    "sequence": '<path d="M2 4h12M2 8h12M2 12h8"/>',
    # Places
    "inbox": '<path d="M2 9.2 4.2 3h7.6L14 9.2V13H2Z"/><path d="M2 9.2h3.4l1 1.7h3.2l1-1.7H14"/>',
    "play": '<path d="M4.4 2.8 12.6 8l-8.2 5.2Z"/>',
    "flow": (
        '<rect x="2" y="2" width="4.4" height="4.4" rx="1.2"/>'
        '<rect x="9.6" y="9.6" width="4.4" height="4.4" rx="1.2"/>'
        '<path d="M4.2 6.4v3.4a2 2 0 0 0 2 2h3.4"/>'
    ),
    "gear": (
        '<circle cx="8" cy="8" r="2.3"/>'
        '<path d="M8 1.8v1.9m0 8.6v1.9M1.8 8h1.9m8.6 0h1.9M3.6 3.6 5 5m6 6 1.4 1.4M3.6 12.4 5 11'
        'm6-6 1.4-1.4"/>'
    ),
    # Verbs and signs
    "chevron-down": '<path d="m3.5 6 4.5 4.5L12.5 6"/>',
    "chevron-left": '<path d="M10 3.5 5.5 8l4.5 4.5"/>',
    "chevron-right": '<path d="M6 3.5 10.5 8 6 12.5"/>',
    "arrow-up": '<path d="M8 13.5v-11M3.8 6.6 8 2.4l4.2 4.2"/>',
    "arrow-down": '<path d="M8 2.5v11m4.2-4.1L8 13.6 3.8 9.4"/>',
    "search": '<circle cx="7" cy="7" r="4.6"/><path d="m10.4 10.4 3.4 3.4"/>',
    "keyboard": (
        '<rect x="1.6" y="3.8" width="12.8" height="8.4" rx="1.8"/>'
        '<path d="M4.4 6.6h.1m2.3 0h.1m2.3 0h.1m2.3 0h.1M4.6 9.5h6.8"/>'
    ),
    "shield": (
        '<path d="M8 1.8 13.2 4v3.8c0 3.2-2.2 5.4-5.2 6.6-3-1.2-5.2-3.4-5.2-6.6V4Z"/>'
        '<path d="m5.8 8 1.6 1.5 2.8-3"/>'
    ),
    "lock": (
        '<rect x="3" y="7" width="10" height="7" rx="1.6"/>'
        '<path d="M5.2 7V5a2.8 2.8 0 0 1 5.6 0v2"/>'
    ),
    "check": '<path d="m3 8.4 3.3 3.2L13 4.6"/>',
    "close": '<path d="m3.6 3.6 8.8 8.8m0-8.8-8.8 8.8"/>',
    "plus": '<path d="M8 2.8v10.4M2.8 8h10.4"/>',
    "pencil": '<path d="M3 13.2v-2.5L10.6 3l2.5 2.5-7.6 7.6Z"/>',
    "sun": (
        '<circle cx="8" cy="8" r="2.8"/>'
        '<path d="M8 1.6v1.5m0 9.8v1.5M1.6 8h1.5m9.8 0h1.5M3.5 3.5l1 1m7 7 1 1m0-9-1 1m-7 7-1 1"/>'
    ),
    "moon": '<path d="M13.4 9.6A5.8 5.8 0 0 1 6.4 2.6a5.8 5.8 0 1 0 7 7Z"/>',
    "screen": '<rect x="1.8" y="2.8" width="12.4" height="8.4" rx="1.4"/><path d="M5.6 13.6h4.8"/>',
    "sign-out": '<path d="M6.4 2.4H3v11.2h3.4M7 8h6.6m-2.8-2.8L13.6 8l-2.8 2.8"/>',
    "bell": '<path d="M3.4 11.4c1-1 1.2-2 1.2-4.2a3.4 3.4 0 0 1 6.8 0c0 2.2.2 3.2 1.2 4.2Z"/>'
    '<path d="M6.6 13.4a1.6 1.6 0 0 0 2.8 0"/>',
    "people": (
        '<circle cx="5.6" cy="5.4" r="2.4"/><path d="M1.6 13c.4-2.6 1.9-4 4-4s3.6 1.4 4 4"/>'
        '<path d="M10.4 3.2a2.3 2.3 0 0 1 0 4.4m1.2 1.9c1.5.4 2.5 1.6 2.8 3.5"/>'
    ),
    "question": (f'{_CIRCLE}<path d="M6.3 6.4a1.8 1.8 0 1 1 2.5 1.7c-.6.3-.8.6-.8 1.2m0 1.8v.1"/>'),
    "comment": '<path d="M2.2 3h11.6v8H7.4l-3 2.6V11H2.2Z"/>',
    # Risk
    "risk-low": _BARS.format(_SOLID, _FAINT, _FAINT),
    "risk-medium": _BARS.format(_SOLID, _SOLID, _FAINT),
    "risk-high": _BARS.format(_SOLID, _SOLID, _SOLID),
}

STEP_TYPE_ICONS: Final[dict[str, str]] = {
    "task": "document",
    "agent": "robot",
    "approval": "person",
    "condition": "diamond",
    "parallel": "fork",
    "sequential": "sequence",
}
