"""The encoding is strict and stable: equal exactly for equal values of equal type."""

from __future__ import annotations

import json
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.errors import EncodingError
from gradlaw.fingerprint import digest, encode
from gradlaw.trial import Trial

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden_fingerprints.json"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    atoms, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)


def typed(value: Any) -> Any:
    """A value in which equality is equality of values and types: the standard Python ==, made strict."""
    if isinstance(value, dict):
        return ("dict", frozenset((key, typed(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("list", tuple(typed(item) for item in value))
    return (type(value).__name__, value)


@given(values, values)
def test_equal_exactly_if_value_and_type_are_equal(left: Any, right: Any) -> None:
    assert (encode(left) == encode(right)) == (typed(left) == typed(right))
    assert (digest(left) == digest(right)) == (typed(left) == typed(right))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, 1.0),
        (1, True),
        (0, False),
        ("1", 1),
        ("null", None),
        ("true", True),
        ([], {}),
        (["a,b"], ["a", "b"]),
    ],
)
def test_alike_is_not_equal(left: object, right: object) -> None:
    assert encode(left) != encode(right)


@given(st.dictionaries(texts, atoms, min_size=2, max_size=5), st.randoms())
def test_the_order_of_keys_does_not_matter(mapping: dict[str, Any], order: Any) -> None:
    items = list(mapping.items())
    order.shuffle(items)
    assert encode(dict(items)) == encode(mapping)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_digit_of_a_float_is_lost(value: float) -> None:
    assert float.fromhex(encode(value).removeprefix("f")) == value


def test_a_dataclass_is_its_name_and_fields() -> None:
    point, other = make_dataclass("Point", ["x"]), make_dataclass("Other", ["x"])
    assert encode(point(1)) == encode(point(1)) != encode(other(1))
    assert encode(point(1)) != encode({"x": 1})


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {1: "a"},
        {1, 2},
        b"bytes",
        object(),
        int,
        np.float64(1.0),
        np.int64(1),
        1j,
        [object()],
        "\ud800",
    ],
)
def test_what_has_no_stable_encoding_raises(value: object) -> None:
    with pytest.raises(EncodingError, match="no stable encoding"):
        digest(value)


def test_golden_fingerprints() -> None:
    """A trial keeps its name for ever: what was computed once is found again in every store."""
    golden = json.loads(GOLDEN.read_text())
    assert len(golden) >= 5
    for entry in golden:
        assert Trial(**entry["trial"]).trial_id == entry["trial_id"], entry


def test_the_encoding_of_a_trial_is_written_down() -> None:
    """By hand, so that the golden file cannot have been made by the code that it guards."""
    import hashlib

    text = (
        '{"data_digest":"","dtype":"float64","hyperparameters":{"lr":f0x1.0000000000000p-1},'
        '"rule":"sgd@1","schedule":"constant@1","seed":i3,"steps":i10,"task":"valley@1"}'
    )
    trial = Trial(
        task="valley@1", rule="sgd@1", schedule="constant@1", hyperparameters={"lr": 0.5}, seed=3, steps=10
    )
    assert trial.trial_id == hashlib.sha256(text.encode()).hexdigest()[:20]
