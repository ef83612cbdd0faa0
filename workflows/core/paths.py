"""Where an expression names variables and steps, found in its text without evaluating it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from workflows.core.errors import ExpressionError
from workflows.core.scope import EXECUTION_FIELDS, REVISION_FIELDS, Names

ROOTS = frozenset(("variables", "steps", "execution", "revision", "item", "index"))

# A text that is not closed swallows what is left: that keeps the reading linear.
_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
    |(?P<raw>(?:[rR][bB]?|[bB][rR])
        (?:"{3}.*?"{3}|'{3}.*?'{3}|"(?!"")[^"\n]*"|'(?!'')[^'\n]*'))
    |(?P<text>[bB]?(?:"{3}(?:[^\\]|\\.)*?"{3}|'{3}(?:[^\\]|\\.)*?'{3}
        |"(?!"")(?:[^"\\\n]|\\.)*"|'(?!'')(?:[^'\\\n]|\\.)*'))
    |(?P<unclosed>(?:[rR][bB]?|[bB][rR]?)?(?:"{3}.*|'{3}.*|["'][^\n]*))
    |(?P<name>[^\W\d]\w*)
    |(?P<quoted>`[^`\n]*`)
    |(?P<number>\d[\w.]*)
    |(?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# What nearly all references are; it saves reading them word by word.
DOTTED = re.compile(r"\s*([^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*")
_SIMPLE_ESCAPE = re.compile(r"\\([\\'\"`])")


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an expression, with the character at which it begins."""

    kind: str
    text: str
    position: int


@dataclass(frozen=True, slots=True)
class Path:
    """A name with the fixed keys that follow it: `steps`, (`plan`, `result`, 0)."""

    root: str
    keys: tuple[str | int, ...]
    position: int


def tokens_of(source: str, start: int = 0) -> Iterator[Token]:
    """Yield the words of an expression, without white space and comments."""
    for match in _TOKEN.finditer(source, start):
        if match.lastgroup != "space":
            yield Token(match.lastgroup or "", match[0], match.start())


def paths_in(tokens: list[Token]) -> list[Path]:
    """Return every path in an expression; the variables of its macros are among them."""
    found = []
    index = 0
    while index < len(tokens):
        if _is_root(tokens, index):
            path, index = _read_path(tokens, index)
            found.append(path)
        else:
            index += 1
    return found


def only_path(source: str) -> Path | None:
    """Return the path that is the whole expression, if it is one and nothing else."""
    if dotted := DOTTED.fullmatch(source):
        root, *keys = dotted[1].split(".")
        return Path(root, tuple(keys), dotted.start(1))
    tokens = list(tokens_of(source))
    if not tokens or not _is_root(tokens, 0):
        return None
    path, end = _read_path(tokens, 0)
    return path if end == len(tokens) else None


def check_path(path: Path, names: Names) -> None:
    """Refuse a path to something that does not exist, or not where the expression stands.

    A root that is no variable is left alone: it may be the variable of a macro.

    Raises:
        ExpressionError: with the position of the path and the reason.
    """
    root, key = path.root, path.keys[0] if path.keys else None
    if root in ("item", "index"):
        if not (names.has_item or (root == "index" and names.has_index)):
            where = "mapped blocks" if root == "item" else "blocks that run in rounds"
            raise _refused(path, "unknown_field", f"'{root}' means something in {where} only")
    elif root in ROOTS:
        if not isinstance(key, str):
            raise _refused(
                path, "expression_error", f"'{root}' must be followed by a name: {_EXAMPLES[root]}"
            )
        if root == "steps":
            _check_step(path, key, names)
        elif root == "variables":
            if key not in names.variables:
                message = f"There is no variable '{key}'"
                raise _refused(path, "undeclared_variable", message)
        else:
            _check_field(path, key)


_EXAMPLES = {
    "steps": "steps.NAME.key or steps['its name'].key",
    "variables": "variables.NAME",
    "execution": "execution.id",
    "revision": "revision.number",
}


def _check_step(path: Path, name: str, names: Names) -> None:
    if name not in names.all_steps:
        raise _refused(path, "unknown_step", f"There is no step '{name}'")
    if name not in names.steps:
        message = f"The step '{name}' does not come before this one: depend on it to use its output"
        raise _refused(path, "not_an_ancestor", message)


def _check_field(path: Path, key: str) -> None:
    fields = EXECUTION_FIELDS if path.root == "execution" else REVISION_FIELDS
    if key not in fields:
        message = f"'{path.root}' has no '{key}'; it has {', '.join(fields)}"
        raise _refused(path, "unknown_field", message)


def _refused(path: Path, reason: str, message: str) -> ExpressionError:
    return ExpressionError(message, position=path.position, reason=reason)


def _is_root(tokens: list[Token], index: int) -> bool:
    if tokens[index].kind != "name" or _is_sign(tokens, index + 1, "("):
        return False
    if not _is_sign(tokens, index - 1, "."):
        return True
    # `.name` with nothing before the dot is the name itself.
    before = tokens[index - 2] if index >= 2 else None
    return before is None or (before.kind == "sign" and before.text not in ")]}")


def _read_path(tokens: list[Token], index: int) -> tuple[Path, int]:
    first = tokens[index]
    keys: list[str | int] = []
    index += 1
    while True:
        key: str | int | None = None
        if _is_sign(tokens, index, ".") and not _is_sign(tokens, index + 2, "("):
            key, length = _field(tokens, index + 1), 2
        elif _is_sign(tokens, index, "[") and _is_sign(tokens, index + 2, "]"):
            key, length = _subscript(tokens[index + 1]), 3
        if key is None:
            return Path(first.text, tuple(keys), first.position), index
        keys.append(key)
        index += length


def _is_sign(tokens: list[Token], index: int, sign: str) -> bool:
    return 0 <= index < len(tokens) and tokens[index].text == sign


def _field(tokens: list[Token], index: int) -> str | None:
    if index >= len(tokens):
        return None
    token = tokens[index]
    if token.kind == "name":
        return token.text
    return token.text[1:-1] if token.kind == "quoted" else None


def _subscript(token: Token) -> str | int | None:
    if token.kind == "number" and token.text.isascii() and token.text.isdigit():
        return int(token.text) if len(token.text) < 10 else None
    if token.kind != "text" or token.text[0] in "bB" or token.text[:3] in ('"""', "'''"):
        return None
    inside = _SIMPLE_ESCAPE.sub(r"\1", token.text[1:-1])
    rest = _SIMPLE_ESCAPE.sub("", token.text[1:-1])
    return None if "\\" in rest else inside
