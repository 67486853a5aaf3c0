"""The examples that ship: what each stands for, and that it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from held import states

import gradlaw
from gradlaw.hyperparameter import Scalar
from gradlaw.sweep.plan import plan_sweep

EXAMPLES = Path(__file__).parents[2] / "examples"
GOLDEN = [
    (0.237092971995, 0.344477320611, 0.00172300250591),
    (0.00237092971995, 0.834477320611, 0.0544861233284),
    (0.000237092971995, 0.0994773206115, 0.00968915512477),
]
"""lr, beta1 and weight decay of the first points, written down when the example was."""
LEFT_OUT = "{} of {} combinations left out by where"


@pytest.mark.parametrize(
    ("name", "num_trials", "num_packs", "notes", "varied"),
    [
        ("batch_size_lr", 84, 3, (), {"batch_size": 3, "lr": 7}),
        ("beta1_beta2", 68, 2, (LEFT_OUT.format(3, 20),), {"beta1": 5, "beta2": 4}),
        ("sobol_halving", 128, 2, (), {"lr": 64, "beta1": 64, "weight_decay": 64}),
        ("warmup_length", 140, 3, (LEFT_OUT.format(5, 40),), {"lr": 5, "warmup_steps": 4, "steps": 2}),
        (
            "weight_decay_modulus",
            48,
            3,
            (LEFT_OUT.format(3, 15),),
            {"modulus": 3, "width": 3, "weight_decay": 4},
        ),
    ],
)
def test_what_an_example_stands_for(
    name: str, num_trials: int, num_packs: int, notes: tuple[str, ...], varied: dict[str, int]
) -> None:
    plan, found = plan_sweep(EXAMPLES / f"{name}.yaml")
    assert (plan.study, plan.preset, plan.kind) == (name, "sweep", "explore")
    assert (len(list(plan.members)), len(plan.packs), found) == (num_trials, num_packs, notes)
    assert {member.trial.seed for member in plan.members} == set(plan.seeds)
    values: dict[str, set[Scalar]] = {}
    for member in plan.members:
        for key, value in {**member.hyperparameters, "steps": member.trial.steps}.items():
            values.setdefault(key, set()).add(value)
    assert {key: len(held) for key, held in values.items() if len(held) > 1} == varied


def test_the_points_of_sobol_are_these_for_good() -> None:
    plan, _ = plan_sweep(EXAMPLES / "sobol_halving.yaml")
    first = [
        tuple(member.hyperparameters[name] for name in ("lr", "beta1", "weight_decay"))
        for member in plan.packs[0].members[:3]
    ]
    assert first == GOLDEN


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {
        "batch_size_lr",
        "beta1_beta2",
        "sobol_halving",
        "warmup_length",
        "weight_decay_modulus",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.yaml")))
def test_an_example_runs_and_runs_no_more(name: str, tmp_path: Path) -> None:
    lines: list[str] = []
    settings = {"steps": 50, "log_every": 10}
    path = EXAMPLES / f"{name}.yaml"
    summary = gradlaw.run(path, store=tmp_path, seeds=1, set=settings, say=lines.append)
    assert summary.complete
    plan, notes = plan_sweep(path, overrides=settings, seeds=1)
    assert summary.trials_run == sum(states(tmp_path).values()) == len(list(plan.members))
    assert set(states(tmp_path)) <= {"done", "stopped", "reached_target", "diverged"}
    assert list(notes) == lines[1 : 1 + len(notes)]
    assert gradlaw.run(path, store=tmp_path, seeds=1, set=settings).trials_run == 0
