"""What is encoded in parts has the identity it has when it is encoded whole."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.fingerprint import encode, encode_around
from gradlaw.trial import Family, Trial

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
atoms = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts


@given(st.dictionaries(texts, atoms, min_size=1, max_size=6), st.data())
def test_parts_and_gaps_are_the_whole(mapping: dict[str, Any], data: st.DataObject) -> None:
    gaps = data.draw(st.sets(st.sampled_from(sorted(mapping)), min_size=1))
    rest = {name: value for name, value in mapping.items() if name not in gaps}
    parts = encode_around(rest, gaps)
    assert len(parts) == len(gaps) + 1
    filled = [encode(mapping[name]) for name in sorted(gaps)]
    assert "".join(text for pair in zip(parts, [*filled, ""], strict=True) for text in pair) == encode(
        mapping
    )


@given(
    st.fixed_dictionaries(
        {"task": texts, "hyperparameters": st.dictionaries(texts, atoms, max_size=4)},
        optional={
            "rule": texts,
            "schedule": texts,
            "steps": st.integers(0, 10**6),
            "dtype": st.sampled_from(["float32", "float64"]),
            "data_digest": texts,
            "loss_bound": st.floats(0.0, 1e9),
            "log_every": st.integers(0, 99),
            "target": texts,
        },
    ),
    st.integers(0, 10**7),
    texts,
    st.dictionaries(texts, atoms, max_size=4),
)
def test_a_trial_of_a_family_is_the_trial_itself(
    given: dict[str, Any], seed: int, cohort: str, other: dict[str, Any]
) -> None:
    whole = Trial(seed=seed, cohort=cohort, **given)
    family = Family(Trial(seed=0, **{**given, "hyperparameters": other}))
    made = family.trial(given["hyperparameters"], encode(given["hyperparameters"]), seed, cohort)
    assert made == whole
    assert made.trial_id == whole.trial_id


def test_the_encoding_of_a_planned_trial_is_written_down() -> None:
    """By hand, as that of a trial without a bound, rows, a target and a cohort is."""
    text = (
        '{"cohort":"ab","data_digest":"","dtype":"float64","hyperparameters":{"lr":f0x1.0000000000000p-1},'
        '"log_every":i5,"loss_bound":f0x1.8000000000000p+1,"rule":"","schedule":"","seed":i3,"steps":i10,'
        '"target":"Target{\\"metric\\":\\"loss\\"}","task":"t@1"}'
    )
    trial = Trial(
        task="t@1",
        hyperparameters={"lr": 0.5},
        seed=3,
        steps=10,
        loss_bound=3.0,
        log_every=5,
        target='Target{"metric":"loss"}',
        cohort="ab",
    )
    assert trial.trial_id == hashlib.sha256(text.encode()).hexdigest()[:20]


def test_a_copy_with_a_change_has_an_identity_of_its_own() -> None:
    import copy
    import pickle
    from dataclasses import replace

    trial = Trial(task="t@1", hyperparameters={}, seed=0)
    known = trial.trial_id
    assert replace(trial, seed=1).trial_id == Trial(task="t@1", hyperparameters={}, seed=1).trial_id != known
    assert pickle.loads(pickle.dumps(trial)).trial_id == copy.copy(trial).trial_id == known
    with pytest.raises(AttributeError):
        trial.seed = 2  # type: ignore[misc]
