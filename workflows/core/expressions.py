"""The expression language: Google's CEL, which this module alone knows.

Expressions cannot loop, call out or reach into Python. They are bounded: by their length, by CEL
in nesting (32) and in iterations (10,000), by having no `map` (which multiplies data), and in how
much of a run they can name. Regular expressions are RE2, linear in time.

CEL does not mix numbers: `2 + 1.5` is an error where `2 < 1.5` is not; `double(n) + 1.5` is the
way. A wrong type or a missing key is an error and never false or null.
"""

import re
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from workflows.core.canonical import dumps_canonical
from workflows.core.errors import ExpressionError, UnstorableError
from workflows.core.paths import ROOTS, Path, Token, check_path, paths_in, tokens_of
from workflows.core.scope import ABSENT, Names, Scope, step_record

MAX_CHARACTERS = 2_000
MAX_REFERENCES = 64

_ANY = cel.Type.DYN
_FIELDS = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
_ERROR = cel.Type.ERROR

# What CEL itself calls its types cannot be declared again; such variables are `variables.type`.
_TYPE_NAMES = frozenset(
    ("bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "type", "uint")
)
_UNREADABLE = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_PLACE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")
_STATUS = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")


# The names that mean something without being declared.
_KNOWN_NAMES = _TYPE_NAMES | {"true", "false", "null"}


class Expression:
    """An expression that has been read and checked; threads may share it.

    Attributes:
        source: its text.
        steps: the steps whose output it uses.
        variables: the variables it uses.
        returns: the type of its value in CEL's words, `DYN` where that is open.
        doubt: why CEL expects it to fail whatever the values are, or None.
    """

    __slots__ = ("_program", "_roots", "doubt", "returns", "source", "steps", "variables")

    def __init__(
        self, source: str, paths: list[Path], program: Any, names: Names, doubt: str | None
    ) -> None:
        self.source = source
        self.doubt = doubt
        self.returns: str = program.return_type().name()
        self.steps = frozenset(str(path.keys[0]) for path in paths if path.root == "steps")
        bare = {path.root for path in paths} - ROOTS
        self.variables = frozenset(bare & names.variables) | frozenset(
            str(path.keys[0]) for path in paths if path.root == "variables"
        )
        self._roots = frozenset(path.root for path in paths)
        self._program = program

    def evaluate(self, scope: Scope) -> Any:
        """Return the expression's value, which is JSON.

        Raises:
            ExpressionError: a key is missing, a type is wrong, or the value is no JSON.
        """
        value = self._evaluate(scope)
        try:
            dumps_canonical(value)
        except UnstorableError as error:
            raise ExpressionError(f"The value cannot be kept: {error.message}") from None
        return value

    def evaluate_condition(self, scope: Scope) -> bool:
        """Return whether the condition holds.

        Raises:
            ExpressionError: as `evaluate`, and where the value is neither true nor false.
        """
        value = self._evaluate(scope)
        if value is True or value is False:
            return bool(value)
        raise ExpressionError(f"A condition is true or false; this is a {type(value).__name__}")

    def _evaluate(self, scope: Scope) -> Any:
        # CEL returns its errors as values, and those are truthy: only the type tells.
        try:
            value = self._program.eval(data=self._data(scope))
            if value.type() == _ERROR:
                raise ExpressionError(_STATUS.sub("", str(value.plain_value())))
            return value.plain_value()
        except (RuntimeError, ValueError, TypeError) as error:
            raise ExpressionError(_STATUS.sub("", str(error))) from None

    def _data(self, scope: Scope) -> dict[str, Any]:
        data = {name: scope.variables[name] for name in self.variables if name in scope.variables}
        if "variables" in self._roots:
            data["variables"] = data.copy()
        if "steps" in self._roots:
            data["steps"] = {
                name: step_record(scope.steps[name]) for name in self.steps if name in scope.steps
            }
        for root in ("execution", "revision", "item", "index"):
            if root in self._roots and (value := getattr(scope, root)) is not ABSENT:
                data[root] = value
        return data


def compile_expression(
    source: str, names: Names, *, max_characters: int = MAX_CHARACTERS
) -> Expression:
    """Read an expression and check what it names.

    Raises:
        ExpressionError: with the position, in characters from 0, and what else is wrong.
    """
    if len(source) > max_characters:
        message = f"An expression has at most {max_characters} characters; this has {len(source)}"
        raise ExpressionError(message)
    if _UNREADABLE.search(source):
        raise ExpressionError("The expression holds control characters")
    tokens = list(tokens_of(source))
    paths = _counted_paths(tokens)
    wrong = _wrong_paths(paths, names)
    try:
        program, doubt = _program(source, names.variables, names.has_item or names.has_index)
    except ExpressionError as error:
        told = {each.position for each in wrong}
        wrong += [each for each in error.every if each.position not in told]
    if wrong:
        raise ExpressionError.joined(wrong)
    return Expression(source, paths, program, names, doubt)


@lru_cache(maxsize=1024)
def _program(source: str, variables: frozenset[str], has_index: bool) -> tuple[Any, str | None]:
    """Return CEL's program, and why CEL doubts that it can work."""
    environment = _environment(variables, has_index)
    try:
        return environment.compile(source), None
    except RuntimeError as error:
        refusal = _refusal(source, str(error))
        if refusal is not None:
            raise refusal from None
        # Types that cannot fit are no reason to refuse: the step will fail, and say so.
        return environment.compile(source, disable_check=True), _message(str(error))


def _counted_paths(tokens: list[Token]) -> list[Path]:
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if before.text == "." and token.text == "map" and after.text == "(":
            raise ExpressionError("'map' is not available", position=token.position)
    paths = paths_in(tokens)
    if len(paths) > MAX_REFERENCES:
        message = f"An expression names at most {MAX_REFERENCES} values; this has {len(paths)}"
        raise ExpressionError(message)
    return paths


def _wrong_paths(paths: list[Path], names: Names) -> list[ExpressionError]:
    wrong = []
    for path in paths:
        try:
            check_path(path, names)
        except ExpressionError as error:
            wrong.append(error)
        if path.root in _TYPE_NAMES and path.root in names.variables:
            message = f"'{path.root}' is a type here; write variables.{path.root}"
            wrong.append(ExpressionError(message, position=path.position))
    return wrong


@lru_cache(maxsize=256)
def _environment(variables: frozenset[str], has_index: bool) -> Any:
    declared = dict.fromkeys(variables - _TYPE_NAMES, _ANY)
    if has_index:
        declared |= {"item": _ANY, "index": _ANY}
    fields = dict.fromkeys(("variables", "steps", "execution", "revision"), _FIELDS)
    return cel.NewEnv(variables=declared | fields)


def _refusal(source: str, text: str) -> ExpressionError | None:
    """Return what CEL's complaint amounts to; None where it is about types alone."""
    places = _PLACE.findall(text)
    if not places:
        return ExpressionError(_message(text))
    wrong: dict[str, ExpressionError] = {}
    for line, column, message in places:
        if message.startswith("found no matching overload"):
            continue
        position = _position(source, line, column)
        if not message.startswith("undeclared reference to"):
            # What cannot be read says nothing of what stands behind it.
            return ExpressionError(_message(message), position=position)
        name = message.split("'")[1]
        wrong.setdefault(name, _undeclared(source, name, position))
    return ExpressionError.joined(wrong.values()) if wrong else None


def _undeclared(source: str, name: str, position: int | None) -> ExpressionError:
    root = name.partition(".")[0]
    for path in paths_in(list(tokens_of(source))):
        if path.root == root and (error := no_variable(path)):
            return error
    return ExpressionError(f"There is no function '{name}'", position=position)


def no_variable(path: Path) -> ExpressionError | None:
    """Return the error that the root of a path is not declared; None where it need not be."""
    if path.root in _KNOWN_NAMES or not path.root.isascii():
        return None
    message = f"There is no variable '{path.root}'"
    return ExpressionError(message, position=path.position, reason="undeclared_variable")


def _message(text: str) -> str:
    if "recursion" in text:
        return "The expression is nested too deep"
    place = _PLACE.search(text)
    message = _STATUS.sub("", place[3] if place else text.partition("\n")[0])
    message = message.partition(" expecting ")[0].replace(" (in container '')", "")
    return message[:1].upper() + message[1:]


def _position(source: str, line: str, column: str) -> int | None:
    if int(line) < 1:
        return None
    before = source.split("\n")[: int(line) - 1]
    return sum(len(text) + 1 for text in before) + int(column) - 1
