"""Every fault of a file is told with its line, all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gradlaw.errors import ConfigurationError, UnknownNameError
from gradlaw.pack import HALF_REASON
from gradlaw.sweep.document import MOST_BYTES
from gradlaw.sweep.plan import plan_sweep

Write = Callable[[str], Path]
BASE = """\
task: digits_mlp
rule: adam
steps: 20
seeds: 2
"""


def faults(path: Path, **given: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        plan_sweep(path, **given)
    return [fault.removeprefix(f"{path}:") for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("sedes: 3\n", 5, "unknown key 'sedes'; did you mean 'seeds'? known: "),
        (
            "grid:\n  lr: [0.1]\n  bta1: [0.9]\n",
            7,
            "grid: unknown hyperparameter 'bta1'; did you mean 'beta1'?",
        ),
        ("schedule: linear_wramup\n", 5, "unknown schedule 'linear_wramup'; did you mean 'linear_warmup'?"),
        ("probes: [full_loss, gradient_nrm]\n", 5, "unknown probe 'gradient_nrm'; did you mean"),
        ("probes:\n  - full_loss\n  - full_loss\n", 7, "probes: got full_loss twice, allowed: once"),
        (
            "probes:\n  - weights: {steps: [1, 1]}\n",
            6,
            "probes: probe weights: got steps (1, 1)",
        ),
        ("name: one\nname: two\n", 6, "name: stands twice, first in line 5; allowed: once"),
        ("seeds: 2\n", 5, "seeds: stands twice, first in line 4; allowed: once"),
        ("grid: {lr: [0.1], lr: [0.2]}\n", 5, "lr: stands twice, first in line 5; allowed: once"),
        ("zip:\n- {lr: [0.1]}\n- {lr: [0.2]}\n", 7, "zip.lr: stands twice, first in line 6; allowed: once"),
        ("probes:\n  - full_loss: {depth: 1}\n", 6, "unknown setting of probe full_loss 'depth'"),
        ("probes: full_loss\n", 5, "probes: got 'full_loss', allowed a list"),
        ("probes: [{a: 1, b: 2}]\n", 5, "probes: got 2 names in one entry, allowed one"),
        ("probes: [{full_loss: 3}]\n", 5, "full_loss: got 3, allowed a mapping"),
        ("values:\n  lr: fast\n", 6, "values.lr: got 'fast' (str), allowed float >= 0"),
        ("values:\n  lr:\n", 6, "values.lr: got None (NoneType), allowed float >= 0"),
        ("values:\n  batch_size: 1e1\n", 6, "values.batch_size: got 10.0 (float), allowed int >= 0"),
        (
            "values:\n  lr: [0.1, 0.2]\n",
            6,
            "values.lr: got a list, allowed a single value; axes go under grid",
        ),
        ("values:\n  beta1: 1\n", 6, "values.beta1: got 1, allowed [0, 1)"),
        ("values:\n  lr: .nan\n", 6, "values.lr: got nan, allowed >= 0"),
        ("values:\n  sampling: epochs\n", 6, "values.sampling: got 'epochs', allowed one of 'iid', 'epoch'"),
        ("values: 3\n", 5, "values: got 3, allowed a mapping from names to values"),
        ("values: {lr: 1}\ngrid:\n  lr: [1]\n", 7, "grid.lr: stands twice, first in line 5; allowed: once"),
        ("grid:\n  lr: 0.1\n", 6, "grid.lr: got 0.1, allowed a list or a range"),
        ("grid:\n  lr: []\n", 6, "grid.lr: got an empty list, allowed at least one value"),
        ("grid:\n  lr: [0.1,\n       -1]\n", 7, "grid.lr: got -1, allowed >= 0"),
        ("grid:\n  lr:\n    - 1\n    - 2\n    - 1.0\n", 9, "grid.lr: got 1.0 twice, allowed once"),
        ("grid:\n  lr: [1, [2]]\n", 6, "grid.lr: got a list, allowed float >= 0"),
        ("grid: {}\n", 5, "grid: got an empty mapping, allowed a mapping"),
        ("grid:\n  lr: {from: 1, to: 2}\n", 6, "grid.lr: got none of them, allowed one of num"),
        ("grid:\n  lr: {from: 1, to: 2, num: 3, step: 1}\n", 6, "grid.lr: got num, step, allowed one of num"),
        ("grid:\n  lr: {from: 1, to: 2, step: 1, scale: log}\n", 6, "grid.lr: got step, allowed one of num"),
        ("grid:\n  lr: {from: 2, to: 1, num: 3}\n", 6, "grid.lr: got from 2 to 1, allowed from < to"),
        ("grid:\n  lr: {from: 0, to: 1, num: 3, scale: log}\n", 6, "grid.lr: got from 0, allowed > 0"),
        ("grid:\n  lr: {from: -1, to: 1, num: 3}\n", 6, "grid.lr: got -1, allowed >= 0"),
        (
            "grid:\n  lr: {form: 1, from: 1, to: 2, num: 3}\n",
            6,
            "unknown key of grid.lr 'form'; did you mean 'from'?",
        ),
        ("grid:\n  lr: {to: 2, num: 3}\n", 6, "grid.lr.from: missing"),
        ("grid:\n  lr:\n    from: 1\n    to: 2\n    num: 1\n", 9, "grid.lr.num: got 1, allowed [2, 1e+06]"),
        ("grid:\n  lr: {from: 0, to: 1, step: 1e-9}\n", 6, "grid.lr: got more than 1,000,000 values"),
        (
            "grid:\n  batch_size: {from: 1, to: 4, num: 3}\n",
            6,
            "grid.batch_size: got 2.5 (float), allowed int",
        ),
        ("grid:\n  sampling: {from: 1, to: 2, num: 2}\n", 6, "grid.sampling: got a range, allowed a list"),
        ("zip:\n  lr: [1, 2, 3]\n  beta1: [0, 0.5]\n", 7, "zip.beta1: got 2 values, allowed 3, as lr has"),
        ("zip:\n  - lr: [1, 1]\n    beta1: [0, 0]\n", 6, "zip: got lr 1.0, beta1 0.0 twice, allowed once"),
        ("zip: []\n", 5, "zip: got an empty list"),
        ("zip: 3\n", 5, "zip: got 3, allowed a mapping"),
        ("sample:\n  num: 4\n", 5, "sample.axes: missing"),
        ("sample:\n  axes: {lr: [1, 2]}\n", 5, "sample.num: missing"),
        ("sample:\n  num: 0\n  axes: {lr: [1]}\n", 6, "sample.num: got 0, allowed [1, 1e+06]"),
        (
            "sample:\n  num: 2\n  method: sobel\n  axes: {lr: [1]}\n",
            7,
            "sample.method: got 'sobel', allowed one of",
        ),
        (
            "sample:\n  num: 2\n  axes:\n    lr: {from: 1, to: 2, num: 3}\n",
            8,
            "sample.axes.lr: got num, allowed from",
        ),
        ("sample:\n  num: 2\n  axes:\n    rl: [1]\n", 8, "sample.axes: unknown hyperparameter 'rl'"),
        ("where: beta1 <\n", 5, "where: got 'beta1 <', which does not parse"),
        (
            "where:\n  - lr > 0\n  - lr > bta1\n",
            7,
            "where: unknown hyperparameter 'bta1'; did you mean 'beta1'?",
        ),
        ("where:\n  - lr.x > 0\n", 6, "where: got 'lr.x' in 'lr.x > 0', allowed comparisons"),
        ("where: 3\n", 5, "where: got 3, allowed a condition"),
        ("where: []\n", 5, "where: got an empty list"),
        ("where: lr > 1\n", 5, "where: got none of 1 combinations"),
        ("where: 1 / 0 > lr\n", 5, "where: '1 / 0 > lr' has no truth at lr 0.001: division by zero"),
        ("log_every: 0\n", 5, "log_every: got 0, allowed >= 1"),
        ("pack_width: 1.5\n", 5, "pack_width: got 1.5 (float), allowed int >= 1"),
        ("loss_bound: 0\n", 5, "loss_bound: got 0, allowed > 0"),
        ("dtype: float16\n", 5, f"dtype: got 'float16', allowed one of 'float32', 'float64': {HALF_REASON}"),
        ("dtype: int8\n", 5, "dtype: got 'int8', allowed one of 'float32', 'float64'"),
        ("target:\n  metric: loss\n", 5, "target.value: missing"),
        ("target:\n  metric: loss\n  value: low\n", 7, "target.value: got 'low' (str), allowed float"),
        ("target: {metric: los, value: 1}\n", 5, "target.metric: got 'los', allowed one of"),
        (
            "halving: {metric: loss, first: 2, facter: 3}\n",
            5,
            "unknown key of halving 'facter'; did you mean",
        ),
        (
            "log_every: 2\nhalving: {metric: loss, first: 3}\n",
            6,
            "halving.first: got 3, allowed a multiple of",
        ),
        ("name: My-Sweep\n", 5, "name: got 'My-Sweep', allowed lower-case letters"),
        ("name: sqrt_b\n", 5, "name: got 'sqrt_b', allowed lower-case letters, digits and _, from a letter"),
        ("values:\n  batch_size: 99999\n  sampling: epoch\n", 6, "batch_size: got 99999, allowed 0 .. 1617"),
        ("grid:\n  lr: [1]\ngrid:\n  beta1: [0]\n", 7, "grid: stands twice, first in line 5; allowed: once"),
        ("3: 4\n", 5, "got '3' as a key, allowed a word"),
        ("? [a, b]\n: 4\n", 5, "got a list or mapping as a key, allowed a word"),
        (
            "values: {lr: 99999999999999999999}\n",
            5,
            "got '99999999999999999999', allowed a number of at most 18",
        ),
        ("values: &a {lr: 1}\ngrid: *a\n", 6, "got an alias (*name), allowed its value written out"),
        (
            "values:\n  lr: !!python/object/apply:os.getcwd []\n",
            6,
            "got the tag tag:yaml.org,2002:python/object",
        ),
        ("values:\n  lr: !secret 3\n", 6, "got the tag !secret, allowed plain values"),
    ],
)
def test_one_fault_one_line(sweep_file: Write, text: str, line: int, said: str) -> None:
    (fault,) = faults(sweep_file(BASE + text))
    assert fault.startswith(f"{line}: {said}")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("task: digit_mlp\nsteps: 1\n", 1, "unknown task 'digit_mlp'; did you mean 'digits_mlp'? known: "),
        ("steps: 1\ntask: no_such.module:Task\n", 2, "task: 'no_such.module' cannot be imported"),
        ("task: gradlaw.tasks.digits:DigitMLP\nsteps: 1\n", 1, "unknown task of gradlaw.tasks.digits"),
        (
            "task: gradlaw.rules.sgd:SGD\nsteps: 1\n",
            1,
            "unknown task of gradlaw.rules.sgd 'SGD'; known: none",
        ),
        ("task: [1]\nsteps: 1\n", 1, "task: got a list, allowed a name or an import path"),
        ("steps: 1\n", 1, "task: missing"),
        ("seeds: 1\ntask: digits_mlp\n", 1, "steps: missing"),
        ("task: digits_mlp\nsteps: -1\n", 2, "steps: got -1, allowed >= 0"),
        ("task: digits_mlp\nsteps: [10, 20, 10]\n", 2, "steps: got 10 twice, allowed once"),
        (
            "task: digits_mlp\nsteps: 1\nseeds: 1000000000\n",
            1,
            "got 1,000,000,000 trials, allowed 10,000,000",
        ),
        ("task: digits_mlp\nsteps: [1\nseeds: 3\n", 3, "while parsing a flow sequence expected"),
        ("task: digits_mlp\n\tsteps: 1\n", 2, "while scanning for the next token found character"),
        ("task: a\n---\ntask: b\n", 2, "expected a single document in the stream"),
        ("- task\n", 1, "got no mapping, allowed lines such as task: ..."),
        ("", 1, "got an empty file, allowed lines such as task: ..."),
        ("# nothing\n", 1, "got an empty file"),
        ("[" * 5000, 1, "got lists in lists too deep to read"),
        ("task: a\x07b\n", 1, "unacceptable character"),
    ],
)
def test_one_fault_of_a_whole_file(sweep_file: Write, text: str, line: int, said: str) -> None:
    (fault,) = faults(sweep_file(text))
    assert fault.startswith(f"{line}: {said}")


def test_all_faults_come_at_once_in_the_order_of_lines(sweep_file: Write) -> None:
    path = sweep_file(
        "name: 3\ntask: digits_mlp\nrule: adm\nsteps: many\nseeds: 0\ngrid:\n  lr: [-1, x]\nfoo: 1\nfoo: 2\n"
    )
    assert [fault.partition(":")[0] for fault in faults(path)] == ["1", "3", "4", "5", "7", "7", "8", "9"]


def test_where_a_class_is_unknown_its_hyperparameters_are_not_blamed(sweep_file: Write) -> None:
    (fault,) = faults(
        sweep_file("task: digits_mlp\nrule: adm\nsteps: 1\nvalues: {beta1: 0.5}\nwhere: beta1 > 0\n")
    )
    assert fault.startswith("2: unknown rule 'adm'; did you mean 'adam'?")


MEASURED = """
from gradlaw.hyperparameter import Hyperparameter
from gradlaw.measurement import Measurement
from gradlaw.table import Column, Table


class Square(Measurement):
    name = "square"
    hyperparameters = (Hyperparameter(name="side", default=1.0, low=0.0),)

    @classmethod
    def tables(cls):
        return (Table(name="squares", grain="One square.", columns=(Column(name="area", type="float64"),)),)

    def measure(self, hyperparameters, seed):
        return {"squares": {"area": [hyperparameters["side"] ** 2]}}
"""


def test_a_measurement_beside_the_file_is_swept_and_not_trained(sweep_file: Write, tmp_path: Path) -> None:
    (tmp_path / "squares_of_a_sweep.py").write_text(MEASURED)
    text = "task: squares_of_a_sweep:Square\ngrid: {side: [1, 2, 3]}\nwhere: side != 2\n"
    plan, notes = plan_sweep(sweep_file(text))
    assert [member.hyperparameters for member in plan.members] == [{"side": 1.0}, {"side": 3.0}]
    assert notes == ("1 of 3 combinations left out by where",)
    assert faults(sweep_file(text + "steps: 3\nrule: adam\n")) == [
        "4: steps: square is a measurement, which trains nothing; leave it out",
        "5: rule: square is a measurement, which trains nothing; leave it out",
    ]
    edge = "task: squares_of_a_sweep:Square\nedge: {side: {from: 1, to: 2, halvings: 1}}\n"
    assert faults(sweep_file(edge)) == [
        "2: edge: square is a measurement, which trains nothing; leave it out"
    ]


def test_bytes_that_are_no_text_and_files_too_long_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"task: digits_mlp\nsteps: \xff\n")
    assert faults(path) == ["2: got bytes that are no UTF-8, allowed text"]
    path.write_bytes(b"# " + b"x" * 10_000_000)
    assert faults(path) == [f"1: got a file of more than {MOST_BYTES:,} bytes, allowed at most that"]


def test_a_billion_laughs_are_one_fault_each(sweep_file: Write) -> None:
    lines = ["a0: &a0 [lol, lol]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    found = faults(sweep_file(BASE + "\n".join(lines)))
    assert [fault for fault in found if "got an alias" in fault] == [
        f"{line}: got an alias (*name), allowed its value written out" for line in range(6, 45)
    ]
    assert len(found) == 40
    assert found[0].startswith("5: unknown key 'a0'")


def test_a_file_named_as_no_study_may_be(tmp_path: Path) -> None:
    path = tmp_path / "My sweep.yaml"
    path.write_text(BASE)
    (fault,) = faults(path)
    assert fault.startswith("1: name: got the file's own, 'My sweep', allowed lower-case letters")


def test_faults_of_the_command_line_have_no_line(sweep_file: Write) -> None:
    path = sweep_file(BASE + "grid: {lr: [0.1]}\n")
    with pytest.raises(ConfigurationError) as caught:
        plan_sweep(path, overrides={"lr": [-1.0], "bta1": 0.5}, seeds=0)
    assert [fault.partition(";")[0] for fault in caught.value.faults] == [
        "command line: seeds: got 0, allowed >= 1",
        "command line: values: unknown hyperparameter 'bta1'",
        "command line: grid.lr: got -1, allowed >= 0",
    ]


def test_seeds_are_said_once(sweep_file: Write) -> None:
    (fault,) = faults(sweep_file(BASE), overrides={"seeds": 3}, seeds=4)
    assert fault == "seeds: got 4 by --seeds and 3 by --set, allowed one of them"


def test_a_sweep_has_one_preset(sweep_file: Write) -> None:
    with pytest.raises(UnknownNameError, match="unknown preset of study sweep 'demo'; known: sweep"):
        plan_sweep(sweep_file(BASE), preset="demo")


@pytest.mark.parametrize(
    ("code", "said"), [("def f(:", "SyntaxError"), ("raise NameError('x')", "NameError: x")]
)
def test_a_module_that_raises_is_a_fault_among_others(sweep_file: Write, code: str, said: str) -> None:
    path = sweep_file(f"steps: -1\ntask: raises_{said[:6].lower()}:Task\n")
    (path.parent / f"raises_{said[:6].lower()}.py").write_text(code)
    first, second = faults(path)
    assert first.startswith("1: steps: got -1")
    assert said in second
    assert "cannot be imported" in second
