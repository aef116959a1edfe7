"""Expressions, `${…}`: what they evaluate to, which variables they read, which functions they call."""

import ast
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

CONSTANTS = {"true": True, "false": False, "null": None}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ORDER: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class WorkflowError(Exception):
    """What a step raises; `error` is the map, or the text, that `except` sees."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        self.error = error


def _error(tag: str, message: str) -> WorkflowError:
    return WorkflowError({"tags": [tag], "message": message})


def body(value: Any) -> str | None:
    """What stands in `${…}`, or None where a value is no expression."""
    if not isinstance(value, str) or "${" not in value:
        return None
    found = re.fullmatch(r"\$\{(.*)\}", value, re.DOTALL)
    if found is None or "${" in found[1]:
        raise SyntaxError(f"an expression is the whole of a value: {value}")
    return found[1]


def parsed(text: str) -> ast.expr:
    """The tree. Raises `SyntaxError`, also for what Python has and workflows do not, or which nothing here needs."""
    tree = ast.parse(text, mode="eval").body
    allowed = (
        *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.BinOp, ast.Add, *_ARITHMETIC),
        *(ast.Compare, ast.Eq, ast.NotEq, ast.In, *_ORDER),
        *(ast.Call, ast.Name, ast.Load, ast.Attribute, ast.Constant),
    )
    for node in ast.walk(tree):
        if not isinstance(node, allowed):
            raise SyntaxError(f"{type(node).__name__} in {text}")
        if isinstance(node, ast.Compare) and len(node.ops) != 1:
            raise SyntaxError(f"two comparisons at once in {text}")
        if isinstance(node, ast.Call) and node.keywords:
            raise SyntaxError(f"arguments have no names in {text}")
        if isinstance(node, ast.Constant) and not isinstance(node.value, str | int | float):
            raise SyntaxError(f"{node.value!r} in {text}")
    return tree


def dotted(node: ast.expr) -> str | None:
    """`a.b.c` of names and attributes alone."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return None


def calls(tree: ast.expr) -> Iterator[str]:
    """The functions that an expression calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name is None:
                raise SyntaxError(f"a call of what is no function: {ast.unparse(node)}")
            yield name


def reads(tree: ast.expr) -> Iterator[str]:
    """The variables that an expression reads."""
    functions = {id(each) for node in ast.walk(tree) if isinstance(node, ast.Call) for each in ast.walk(node.func)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and id(node) not in functions and node.id not in CONSTANTS:
            yield node.id


def evaluate(value: Any, variables: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
    """A value with its expressions evaluated, in lists and maps too."""
    if isinstance(value, dict):
        return {key: evaluate(each, variables, functions) for key, each in value.items()}
    if isinstance(value, list):
        return [evaluate(each, variables, functions) for each in value]
    text = body(value)
    return value if text is None else _Evaluation(variables, functions).of(parsed(text))


class _Evaluation:
    def __init__(self, variables: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> None:
        self._variables = variables
        self._functions = functions

    def of(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                if node.id in CONSTANTS:
                    return CONSTANTS[node.id]
                if node.id not in self._variables:
                    raise NameError(f"{node.id} is not assigned")
                return self._variables[node.id]
            case ast.Attribute():
                return _member(self.of(node.value), node.attr)
            case ast.Call():
                name = dotted(node.func)
                assert name is not None
                return self._functions[name](*(self.of(each) for each in node.args))
            case ast.UnaryOp():
                return not _truth(self.of(node.operand))
            case ast.BoolOp():
                stops = isinstance(node.op, ast.Or)
                return stops if any(_truth(self.of(each)) is stops for each in node.values) else not stops
            case ast.BinOp():
                return _sum(node.op, self.of(node.left), self.of(node.right))
            case ast.Compare():
                return _compared(node.ops[0], self.of(node.left), self.of(node.comparators[0]))
        raise SyntaxError(ast.unparse(node))


def _member(of: Any, name: str) -> Any:
    if not isinstance(of, dict):
        raise _error("TypeError", f"{of!r} has no member {name}")
    if name not in of:
        raise _error("KeyError", f"there is no {name}")
    return of[name]


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _error("TypeError", f"{value!r} is no boolean")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sum(sign: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(sign, ast.Add) and isinstance(left, str) and isinstance(right, str):
        return left + right
    if not (_is_number(left) and _is_number(right)):
        raise _error("TypeError", f"{left!r} and {right!r} do not go together")
    return left + right if isinstance(sign, ast.Add) else _ARITHMETIC[type(sign)](left, right)


def _compared(sign: ast.cmpop, left: Any, right: Any) -> bool:
    if isinstance(sign, ast.Eq | ast.NotEq):
        return (left == right) is isinstance(sign, ast.Eq)
    if isinstance(sign, ast.In):
        if not isinstance(right, dict | list):
            raise _error("TypeError", f"{right!r} is no list or map")
        return left in right
    if not (_is_number(left) and _is_number(right)):
        raise _error("TypeError", f"{left!r} and {right!r} have no order")
    return _ORDER[type(sign)](left, right)


def library(environ: Mapping[str, str], now: Callable[[], float]) -> dict[str, Callable[..., Any]]:
    """The functions of the standard library that are known here."""
    return {
        "default": lambda value, other: other if value is None else value,
        "int": lambda value: int(value),
        "json.decode": lambda data: json.loads(data),
        "keys": lambda of: list(of),
        "list.concat": lambda of, value: [*of, value],
        "map.get": _looked_up,
        "math.min": lambda one, other: min(one, other),
        "string": lambda value: str(value),
        "sys.get_env": lambda name: _member(dict(environ), name),
        "sys.now": now,
        "text.encode": lambda value: value.encode(),
        "text.match_regex": _matches,
        "text.replace_all": lambda value, old, new: value.replace(old, new),
        "text.substring": lambda value, start, end: value[start:end],
        "time.format": _time_text,
        "time.parse": _time,
    }


def _looked_up(of: Any, path: str | list[str]) -> Any:
    for key in [path] if isinstance(path, str) else path:
        if not isinstance(of, dict) or key not in of:
            return None
        of = of[key]
    return of


def _matches(value: str, pattern: str) -> bool:
    """The description leaves open whether the whole text must match: here it must make no difference."""
    whole, part = (each(pattern, value) is not None for each in (re.fullmatch, re.search))
    assert whole is part, f"{pattern} matches {value} in part"
    assert not set("{}") & set(pattern), "a brace in an expression may end it"
    return whole


def _time_text(seconds: float, zone: str = "UTC") -> str:
    return datetime.fromtimestamp(seconds, ZoneInfo(zone)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except ValueError as error:
        raise _error("ValueError", str(error)) from error
