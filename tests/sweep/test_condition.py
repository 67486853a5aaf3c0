"""Conditions say what Python says, on what they allow; the rest is refused before it is asked."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.errors import UsageError
from gradlaw.sweep.condition import Condition

VALUES = {"lr": 0.1, "beta1": 0.9, "batch_size": 32, "nesterov": True, "sampling": "iid"}

numbers = st.one_of(
    st.sampled_from(["lr", "beta1", "batch_size"]),
    st.integers(0, 9).map(str),
    st.floats(0.001, 100.0).map(repr),
)
numeric = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        inner.map(lambda text: f"-{text}"),
        st.tuples(inner, st.integers(0, 3)).map(lambda parts: f"({parts[0]} ** {parts[1]})"),
    ),
    max_leaves=6,
)
compared = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
atoms = st.one_of(
    st.tuples(numeric, compared, numeric, compared, numeric).map(" ".join),
    st.tuples(numeric, compared, numeric).map(" ".join),
    st.tuples(numeric, st.lists(numeric, min_size=1, max_size=3)).map(
        lambda parts: f"{parts[0]} in ({', '.join(parts[1])},)"
    ),
    st.sampled_from(["nesterov", "True", "sampling == 'iid'", "sampling not in ('iid', 'epoch')"]),
)
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda text: f"(not {text})"),
    ),
    max_leaves=5,
)


@given(conditions)
def test_it_says_what_python_says(text: str) -> None:
    try:
        expected = eval(text, {"__builtins__": {}}, dict(VALUES))
    except (ZeroDivisionError, OverflowError):
        with pytest.raises(UsageError, match="has no truth at"):
            Condition(text).holds(VALUES)
        return
    assert Condition(text).holds(VALUES) is expected


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "lr.__class__",
        "[x for x in (1, 2)]",
        "(lambda: True)()",
        "lr if lr else beta1",
        "f'{lr}'",
        "lr := 1",
        "lr[0]",
        "lr is None",
        "lr << 99999",
        "{1: 2} == lr",
        "b'x' == lr",
        "1j == lr",
        "...",
        "lr <",
        "lr = 1",
        "",
        "(" * 400 + "lr" + ")" * 400,
        "-" * 900 + "1 < lr",
        "not " * 240 + "nesterov",
        "lr < 1" + " and lr < 1" * 200,
        "lr < 1\x00",
    ],
)
def test_what_it_does_not_allow_is_refused_unasked(text: str) -> None:
    with pytest.raises(UsageError, match=re.compile("^got ")):
        Condition(text)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("lr / 0 < 1", "division by zero"),
        ("sampling < 3", "not supported between"),
        ("sampling + 'x' == 'iidx'", "'iid' is no number"),
        ("sampling * 1000000000 == 1", "'iid' is no number"),
        ("nesterov + 1 == 2", "True is no number"),
        ("lr and nesterov", "0.1 is neither true nor false"),
        ("lr", "0.1 is neither true nor false"),
        ("lr in 3", "3 is no list"),
        ("(-8) ** 0.5 < 1", "is no real number"),
        ("9 ** 9 ** 9 ** 9 < lr", "Numerical result out of range"),
    ],
)
def test_what_has_no_truth_is_told_with_the_values(text: str, cause: str) -> None:
    with pytest.raises(UsageError, match=f"has no truth at .*{re.escape(cause)}"):
        Condition(text).holds(VALUES)


def test_words_of_yaml_are_its_truths() -> None:
    assert Condition("nesterov == true and not false").holds(VALUES)
    assert Condition("nesterov == true").names == {"nesterov"}
