"""Conditions on hyperparameters: comparisons and arithmetic, evaluated without ``eval``.

The text is parsed by Python's own parser; of its tree only the nodes named here are allowed, so that no
condition can call, reach into an object or run for long.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from gradlaw.errors import UsageError
from gradlaw.hyperparameter import Scalar

MOST_NODES = 200
MOST_LETTERS = 1000
_ALLOWED = "comparisons, and, or, not, in, + - * / // % **, names, numbers and texts"
_WORDS: Mapping[str, Scalar] = {"true": True, "false": False}

Number = int | float
Value = Scalar | tuple[Scalar, ...]


def _power(base: Number, exponent: Number) -> float:
    """In floats, since a power of whole numbers may have more digits than memory holds."""
    power: float | complex = float(base) ** float(exponent)
    if isinstance(power, complex):
        msg = f"{base} ** {exponent} is no real number"
        raise ValueError(msg)
    return power


_ARITHMETIC: Mapping[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[object, object], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,  # type: ignore[dict-item]  # of objects that may not compare: that is a fault
    ast.LtE: operator.le,  # type: ignore[dict-item]  # likewise
    ast.Gt: operator.gt,  # type: ignore[dict-item]  # likewise
    ast.GtE: operator.ge,  # type: ignore[dict-item]  # likewise
    ast.In: lambda left, right: left in _several(right),
    ast.NotIn: lambda left, right: left not in _several(right),
}
_NODES = (
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.UAdd, ast.USub, ast.BinOp),
    *(ast.Compare, ast.Constant, ast.Name, ast.Load, ast.Tuple, ast.List),
    *_ARITHMETIC,
    *_COMPARISONS,
)


@dataclass(frozen=True)
class Condition:
    """A condition that a combination of hyperparameters may meet.

    >>> sorted(Condition("beta1 <= beta2 and sampling in ('iid', 'epoch')").names)
    ['beta1', 'beta2', 'sampling']
    >>> Condition("0 < lr * weight_decay <= 1e-3").holds({"lr": 0.1, "weight_decay": 0.1})
    False

    Raises:
        UsageError: The text does not parse, or says what no condition may.
    """

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > MOST_LETTERS:
            msg = f"got {len(self.text)} letters, allowed {MOST_LETTERS}"
            raise UsageError(msg)
        nodes = list(ast.walk(self._tree))
        if len(nodes) > MOST_NODES:
            msg = f"got {len(nodes)} parts, allowed {MOST_NODES}"
            raise UsageError(msg)
        for node in nodes:
            plain = not isinstance(node, ast.Constant) or isinstance(node.value, (bool, int, float, str))
            if not isinstance(node, _NODES) or not plain:
                found = ast.unparse(node) or type(node).__name__
                msg = f"got {found!r} in {self.text!r}, allowed {_ALLOWED}"
                raise UsageError(msg)

    @cached_property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            cause = getattr(error, "msg", None) or str(error)
            msg = f"got {self.text!r}, which does not parse ({cause}); allowed {_ALLOWED}"
            raise UsageError(msg) from error

    @cached_property
    def names(self) -> frozenset[str]:
        """The hyperparameters it is about."""
        return frozenset(node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)) - set(_WORDS)

    def holds(self, values: Mapping[str, Scalar]) -> bool:
        """Whether a combination meets it.

        Raises:
            UsageError: It has no truth at these values: a division by zero, a text compared with a number.
        """
        try:
            return _truth(_value(self._tree, {**_WORDS, **values}))
        except (ArithmeticError, TypeError, ValueError) as error:
            at = ", ".join(f"{name} {values[name]!r}" for name in sorted(self.names))
            msg = f"{self.text!r} has no truth at {at}: {error}"
            raise UsageError(msg) from error


def _value(node: ast.expr, values: Mapping[str, Scalar]) -> Value:
    match node:
        case ast.Constant(value=value):
            return value  # type: ignore[return-value]  # of the kinds that were let in
        case ast.Name(id=name):
            return values[name]
        case ast.Compare():
            return _compare(node, values)
        case ast.BinOp(op=op):
            left, right = _number(_value(node.left, values)), _number(_value(node.right, values))
            return _ARITHMETIC[type(op)](left, right)
        case ast.BoolOp(op=ast.And()):
            return all(_truth(_value(item, values)) for item in node.values)
        case ast.BoolOp():
            return any(_truth(_value(item, values)) for item in node.values)
        case ast.UnaryOp(op=ast.Not()):
            return not _truth(_value(node.operand, values))
        case ast.UnaryOp(op=op):
            number = _number(_value(node.operand, values))
            return -number if isinstance(op, ast.USub) else number
        case ast.Tuple() | ast.List():
            return tuple(_single(_value(item, values)) for item in node.elts)
    raise TypeError(type(node).__name__)


def _compare(node: ast.Compare, values: Mapping[str, Scalar]) -> bool:
    left = _value(node.left, values)
    for op, item in zip(node.ops, node.comparators, strict=True):
        right = _value(item, values)
        if not _COMPARISONS[type(op)](left, right):
            return False
        left = right
    return True


def _truth(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    msg = f"{value!r} is neither true nor false"
    raise TypeError(msg)


def _number(value: Value) -> Number:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    msg = f"{value!r} is no number"
    raise TypeError(msg)


def _single(value: Value) -> Scalar:
    if isinstance(value, tuple):
        msg = f"{value!r} stands in another list"
        raise TypeError(msg)
    return value


def _several(value: object) -> tuple[object, ...]:
    if isinstance(value, tuple):
        return value
    msg = f"{value!r} is no list"
    raise TypeError(msg)
