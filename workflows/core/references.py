"""The `${…}` language: values of a definition that take their content from the run.

A value is compiled once and resolved at every start of its step. `${…}` that only names something
is looked up directly; anything else inside is an expression. What is put in is never looked at
again. `$${` stands for a literal `${`.

`steps.NAME` is a record: `result` is the step's whole output, and every key of an output that is an
object stands beside it. An output's own key `result` wins.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from workflows.core.canonical import MAX_BYTES, dumps_canonical
from workflows.core.errors import ExpressionError, UnstorableError
from workflows.core.expressions import MAX_CHARACTERS, compile_expression, no_variable
from workflows.core.paths import DOTTED, ROOTS, Path, check_path, only_path, tokens_of
from workflows.core.scope import Names, Scope, value_at

_Resolver = Callable[[Scope], Any]

_OPENING = re.compile(r"\$\$\{|\$\{")

#: How much that is wrong with one text is told at once.
MOST_ERRORS = 64


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a text in a compiled value: `path` are the keys that lead to the text."""

    path: tuple[str | int, ...]
    error: ExpressionError


class Compiled:
    """A value that has been read, with what it takes from the run.

    Attributes:
        steps: the steps whose output it uses.
        variables: the variables it uses.
        errors: what is wrong with its references.
        doubts: what is accepted and probably not meant.
    """

    __slots__ = ("_resolver", "doubts", "errors", "steps", "variables")

    def __init__(self, resolver: _Resolver, reader: "_Reader") -> None:
        self._resolver = resolver
        self.steps = frozenset(reader.steps)
        self.variables = frozenset(reader.variables)
        self.errors = tuple(reader.errors)
        self.doubts = tuple(reader.doubts)

    def resolve(self, scope: Scope) -> Any:
        """Return the value for a run: new lists and objects, around values of the scope itself.

        Raises:
            ExpressionError: something that it names has no value in this run.
        """
        return self._resolver(scope)


def compile_value(
    value: Any,
    names: Names,
    *,
    max_characters: int = MAX_CHARACTERS,
    collect: bool = False,
    as_text: bool = False,
) -> Compiled:
    """Read a value and check what it names.

    Args:
        value: JSON, with references in its texts (not in its keys).
        names: what may be named.
        max_characters: the longest expression.
        as_text: the value is a text to be shown, and stays one whatever it refers to.
        collect: keep all errors in `Compiled.errors` instead of raising the first one.

    Raises:
        ExpressionError: a reference cannot be read, or names what is not there.
    """
    reader = _Reader(names, max_characters)
    resolver = reader.read(value, ())
    compiled = Compiled(_interpolation([resolver]) if as_text else resolver, reader)
    if compiled.errors and not collect:
        raise compiled.errors[0].error
    return compiled


def resolve(compiled: Compiled, scope: Scope) -> Any:
    """Return the value for a run; see `Compiled.resolve`."""
    return compiled.resolve(scope)


class _Reader:
    def __init__(self, names: Names, max_characters: int) -> None:
        self.names = names
        self.max_characters = max_characters
        self.steps: set[str] = set()
        self.variables: set[str] = set()
        self.errors: list[Finding] = []
        self.doubts: list[Finding] = []

    def read(self, value: Any, path: tuple[str | int, ...]) -> _Resolver:
        """Return what produces the value; definitions are bounded in depth, so this recurses."""
        if isinstance(value, str):
            try:
                return self._text(value, path)
            except ExpressionError as error:
                self.errors += [Finding(path, each) for each in error.every]
                return _constant(value)
        if isinstance(value, dict):
            return _object({key: self.read(child, (*path, key)) for key, child in value.items()})
        if isinstance(value, list | tuple):
            return _list([self.read(child, (*path, i)) for i, child in enumerate(value)])
        return _constant(value)

    def _text(self, text: str, path: tuple[str | int, ...]) -> _Resolver:
        if text.startswith(("steps.", "steps[")):
            return self._bare(text, path)
        return self._with_references(text, path)

    def _with_references(self, text: str, path: tuple[str | int, ...]) -> _Resolver:
        if "${" not in text:
            return _constant(text)
        parts: list[str | _Resolver] = []
        wrong: list[ExpressionError] = []
        pieces = _parts(text)
        while len(wrong) < MOST_ERRORS:
            position = 0
            try:
                is_reference, part, position = next(pieces)
                parts.append(self._reference(part, path) if is_reference else part)
            except StopIteration:
                break
            except ExpressionError as error:
                wrong += error.moved(position).every
        if wrong:
            raise ExpressionError.joined(wrong)
        if len(parts) == 1 and not isinstance(parts[0], str):
            return parts[0]
        return _interpolation(parts)

    def _bare(self, text: str, path: tuple[str | int, ...]) -> _Resolver:
        """Read `steps.NAME…` without `${}`: a reference if it names a step, a text if not."""
        found = only_path(text) if len(text) <= self.max_characters else None
        if found and found.keys and found.keys[0] in self.names.all_steps:
            return self._path(found)
        if re.search(r"\s", text):
            return self._with_references(text, path)
        error = ExpressionError(
            "This looks like a reference, but names no step; it is taken as text",
            position=0,
            reason="unknown_step",
        )
        self.doubts.append(Finding(path, error))
        return self._with_references(text, path)

    def _reference(self, source: str, path: tuple[str | int, ...]) -> _Resolver:
        if not source.strip():
            raise ExpressionError("There is nothing between ${ and }", position=0)
        found = only_path(source) if len(source) <= self.max_characters else None
        if found and (found.root in ROOTS or found.root in self.names.variables):
            return self._path(found)
        if found and not found.keys and (error := no_variable(found)):
            raise error
        expression = compile_expression(source, self.names, max_characters=self.max_characters)
        self.steps |= expression.steps
        self.variables |= expression.variables
        if expression.doubt:
            self.doubts.append(
                Finding(path, ExpressionError(expression.doubt, reason="type_mismatch"))
            )
        return expression.evaluate

    def _path(self, found: Path) -> _Resolver:
        check_path(found, self.names)
        if found.root == "steps":
            self.steps.add(str(found.keys[0]))
        elif found.root == "variables":
            self.variables.add(str(found.keys[0]))
        elif found.root not in ROOTS:
            self.variables.add(found.root)
        return _lookup(found.root, found.keys)


def _parts(text: str) -> Iterator[tuple[bool, str, int]]:
    """Yield the pieces of a text: whether it is a reference, its content, and where that begins."""
    literal = []
    end = 0
    while opening := _OPENING.search(text, end):
        literal.append(text[end : opening.start()])
        if opening[0] == "$${":
            literal.append("${")
            end = opening.end()
            continue
        if before := "".join(literal):
            yield False, before, 0
        literal = []
        closing = _closing_brace(text, opening.end())
        yield True, text[opening.end() : closing], opening.end()
        end = closing + 1
    if rest := "".join(literal) + text[end:]:
        yield False, rest, 0


def _closing_brace(text: str, start: int) -> int:
    if (dotted := DOTTED.match(text, start)) and text.startswith("}", dotted.end()):
        return dotted.end()
    depth = 0
    for token in tokens_of(text, start):
        if token.text == "{":
            depth += 1
        elif token.text == "}":
            if not depth:
                return token.position
            depth -= 1
    raise ExpressionError("A ${ is not closed; write $${ for a literal one", position=start - 2)


def _constant(value: Any) -> _Resolver:
    return lambda scope: value


def _lookup(root: str, keys: tuple[str | int, ...]) -> _Resolver:
    return lambda scope: value_at(scope, root, keys)


def _object(members: dict[str, _Resolver]) -> _Resolver:
    return lambda scope: {key: member(scope) for key, member in members.items()}


def _list(items: list[_Resolver]) -> _Resolver:
    return lambda scope: [item(scope) for item in items]


def _interpolation(parts: list[str | _Resolver]) -> _Resolver:
    def interpolate(scope: Scope) -> str:
        texts = []
        length = 0
        for part in parts:
            text = part if isinstance(part, str) else _as_text(part(scope))
            length += len(text)
            if length > MAX_BYTES:
                raise ExpressionError(f"The text becomes longer than {MAX_BYTES} characters")
            texts.append(text)
        return "".join(texts)

    return interpolate


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return dumps_canonical(value)
    except UnstorableError as error:
        raise ExpressionError(f"A value cannot be put into a text: {error.message}") from None
