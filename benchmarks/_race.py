"""Arms that take turns on one device: each at its best variant and width, medians over repeats."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

import numpy as np
import torch
from _arm_gradlaw import Gradlaw, variants
from _arms import Arm, Timing, TorchOptim, VmapEager
from _cases import Case, Problem, make_problem, work_of
from _ceilings import copy_gb_s, matmul_gflops

from gradlaw.engine.compiled import missing_compiler

ALONE = ("torch_optim", "torch_optim_compiled")
"""Arms that train one trial at a time."""
ARMS = (*ALONE, "vmap_eager", "jax", "gradlaw")
_CHECK_STEPS, _CHECK_SEEDS, _TOLERANCE = 3, (0, 1), 1e-4


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How thoroughly to measure.

    Attributes:
        repeats: Turns of every arm, >= 1.
        seconds: Length of a turn.
        search_s: Length of each of the two slices by which a candidate is judged.
        quick: Only one or two candidates an arm.
        widths: Pack widths to try; empty: the case's own.
    """

    repeats: int = 9
    seconds: float = 1.0
    search_s: float = 0.3
    quick: bool = False
    widths: tuple[int, ...] = ()


QUICK = Effort(repeats=3, seconds=0.15, search_s=0.1, quick=True)


def available(names: Iterable[str], device: str) -> list[str]:
    """Those of the arms that can run here; says why of the others."""
    kept = []
    for name in names:
        if name == "jax" and not _has_jax(device):
            print(f"jax: left out, it is not installed for {device}", file=sys.stderr)
            continue
        if name == "torch_optim_compiled" and (why := missing_compiler(device)):
            print(f"{name}: left out, {why}", file=sys.stderr)
            continue
        kept.append(name)
    return kept


def _has_jax(device: str) -> bool:
    try:
        import jax
        import optax  # noqa: F401 - the arm needs both
    except ImportError:
        return False
    return not device.startswith("cuda") or jax.default_backend() == "gpu"


def check(case: Case, names: Sequence[str], device: str) -> None:
    """Refuses to measure arms whose first losses, from the same start on all rows, are not the same."""
    problem = make_problem(case.full_batch(), _CHECK_SEEDS, device)
    expected: np.ndarray[Any, Any] | None = None
    for name in names:
        for variant in _variants(name, case, quick=True):
            arm = _make(name, problem, variant, checking=True)
            losses = arm.trace(_CHECK_STEPS)[:, :1] if name in ALONE else arm.trace(_CHECK_STEPS)
            arm.close()
            if expected is None:
                expected = losses
            width = min(expected.shape[1], losses.shape[1])
            error = float(np.max(np.abs(losses[:, :width] / expected[:, :width] - 1)))
            if not error < _TOLERANCE:
                msg = f"{case.name}: {name} {variant}: losses differ by {error:.1e}, allowed {_TOLERANCE:g}"
                raise SystemExit(msg)
            if losses.shape[1] > expected.shape[1]:
                expected = losses


def race(case: Case, names: Sequence[str], device: str, effort: Effort) -> Iterator[Mapping[str, Any]]:
    """Measures the arms of a case.

    Yields:
        A record an arm: width, variant, ms_per_trial_step (median), min, repeats, compile_s; on
        gradlaw's also how many times as long each other arm takes, as the median over turns.
    """
    torch._dynamo.reset()  # noqa: SLF001 - the documented way; a case's programs are of no use to the next
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001 - every variant is one more of the same function
    best, tried = {}, {}
    for name in names:
        best[name], tried[name] = _best(name, case, device, effort)
    for arm in best.values():
        arm.warm()
    samples: dict[str, list[Timing]] = {name: [] for name in names}
    for turn in range(effort.repeats):
        shift = turn % len(names)
        for name in [*names[shift:], *names[:shift]]:
            samples[name].append(best[name].timed(effort.seconds))
    for name, arm in best.items():
        _require_finite(case, arm)
        arm.close()
        record: dict[str, Any] = {
            "case": case.name,
            "arm": name,
            "width": arm.width,
            "variant": arm.variant,
            "ms_per_trial_step": _rounded(median(one.wall_ms for one in samples[name])),
            "min": _rounded(min(one.wall_ms for one in samples[name])),
            "cpu_ms_per_trial_step": _rounded(median(one.cpu_ms for one in samples[name])),
            "repeats": effort.repeats,
            "compile_s": _rounded(tried[name][_label(arm)]["compile_s"]),
            "tried": {label: one["ms"] for label, one in tried[name].items()},
        }
        if name == "gradlaw":
            record["times_as_long"] = {
                other: _ratio(samples[other], samples[name]) for other in names if other != name
            }
        yield record


def _ratio(others: Sequence[Timing], ours: Sequence[Timing]) -> float:
    return _rounded(median(b.wall_ms / a.wall_ms for a, b in zip(ours, others, strict=True)))


def floor(case: Case, device: str) -> Mapping[str, Any]:
    """What a case's FLOPs and compulsory bytes take at the device's ceilings, of a pack kept in cache."""
    work, matmul = work_of(case), matmul_gflops(device)
    memory, cache = copy_gb_s(device), copy_gb_s(device, 1 << 18)
    compute_ms, traffic_ms = work.flops / matmul / 1e6, work.state_bytes / max(memory, cache) / 1e6
    return {
        "case": case.name,
        "arm": "floor",
        "ms_per_trial_step": _rounded(max(compute_ms, traffic_ms)),
        "bound_by": "flops" if compute_ms > traffic_ms else "bytes",
        "compute_ms": _rounded(compute_ms),
        "traffic_ms": _rounded(traffic_ms),
        "memory_traffic_ms": _rounded(work.state_bytes / memory / 1e6),
        "flops": work.flops,
        "bytes": work.state_bytes,
        "activation_bytes": work.activation_bytes,
        "matmul_gflops": _rounded(matmul),
        "shape_gflops": _rounded(matmul_gflops(device, work.matmul_shape)),
        "copy_gb_s": _rounded(memory),
        "cache_copy_gb_s": _rounded(cache),
    }


def _best(name: str, case: Case, device: str, effort: Effort) -> tuple[Arm, dict[str, Mapping[str, float]]]:
    """The fastest candidate of an arm, and what was seen of each."""
    best: Arm | None = None
    best_ms, tried = float("inf"), dict[str, Mapping[str, float]]()
    for variant, width in _candidates(name, case, effort):
        try:
            arm = _make(name, make_problem(case, range(width), device), variant)
            arm.warm()
        except RuntimeError as error:  # no compiler here, or no memory for this width
            print(f"{case.name} {name} {variant}@{width}: {str(error)[:200]}", file=sys.stderr)
            continue
        ms = min(arm.timed(effort.search_s).wall_ms for _ in range(2))
        tried[_label(arm)] = {"ms": _rounded(ms), "compile_s": arm.compile_s}
        print(f"{case.name} {name} {_label(arm)}: {ms:.4g} ms", file=sys.stderr)
        loser = arm if ms >= best_ms else best
        if ms < best_ms:
            best, best_ms = arm, ms
        if loser is not None:
            loser.close()
    if best is None:
        msg = f"{case.name}: no candidate of {name} runs here"
        raise SystemExit(msg)
    return best, tried


def _candidates(name: str, case: Case, effort: Effort) -> list[tuple[str, int]]:
    widths = effort.widths or (case.widths[:1] if effort.quick else case.widths)
    return list(product(_variants(name, case, quick=effort.quick), (1,) if name in ALONE else widths))


def _variants(name: str, case: Case, *, quick: bool) -> tuple[str, ...]:
    if name == "gradlaw":
        return variants()
    if name == "torch_optim_compiled":
        return ("foreach+compiled+gather",)  # the best of those that compile
    lookups = ("gather", "onehot") if case.task == "modular_addition" else ("gather",)
    if name != "torch_optim":
        return lookups[:1] if quick else lookups
    kinds = ("fused",) if quick else ("default", "foreach", "fused")
    return tuple("+".join((kind, "eager", lookup)) for kind, lookup in product(kinds, lookups))


def _make(name: str, problem: Problem, variant: str, *, checking: bool = False) -> Arm:
    if name == "jax":
        from _arm_jax import STEPS_PER_CALL, Jax

        return Jax(problem, variant, 1 if checking else STEPS_PER_CALL)
    kinds: dict[str, type[Arm]] = {
        "vmap_eager": VmapEager,
        "gradlaw": Gradlaw,
        **dict.fromkeys(ALONE, TorchOptim),
    }
    return kinds[name](problem, variant)


def _label(arm: Arm) -> str:
    return f"{arm.variant}@{arm.width}"


def _require_finite(case: Case, arm: Arm) -> None:
    losses = arm.last_losses()
    if not np.isfinite(losses).all():
        msg = f"{case.name}: {arm.name} {arm.variant}: got losses {losses}, allowed finite ones"
        raise SystemExit(msg)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
