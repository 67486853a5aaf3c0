"""What a device can do at most, measured: products of matrices, and copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch

_REPEATS = 20


@cache
def matmul_gflops(device: str = "cpu", shape: tuple[int, int, int] | None = None) -> float:
    """GFLOP/s of float32 products, of the given (rows, inner, columns) or the best of some square ones."""
    default = (1024, 2048, 4096, 8192) if device.startswith("cuda") else (256, 512, 1024)
    shapes = [shape] if shape else [(size, size, size) for size in default]
    return max(_product(device, one) for one in shapes)


def _product(device: str, shape: tuple[int, int, int]) -> float:
    rows, inner, columns = shape
    left, right = torch.randn(rows, inner, device=device), torch.randn(inner, columns, device=device)
    out = torch.empty(rows, columns, device=device)
    return 2.0 * rows * inner * columns / _best_s(lambda: torch.mm(left, right, out=out), device) / 1e9


@cache
def copy_gb_s(device: str = "cpu", num_bytes: int = 1 << 28) -> float:
    """GB/s of a copy from memory to memory, bytes read and written both counted."""
    source = torch.ones(num_bytes // 4, device=device)
    target = torch.empty_like(source)
    return 2.0 * num_bytes / _best_s(lambda: target.copy_(source), device) / 1e9


def _best_s(run: Callable[[], object], device: str) -> float:
    """Seconds of one call, the least of some loops of at least a hundredth of a second."""
    calls, best = 1, float("inf")
    while _loop_s(run, calls, device) < 0.01:
        calls *= 2
    for _ in range(_REPEATS):
        best = min(best, _loop_s(run, calls, device) / calls)
    return best


def _loop_s(run: Callable[[], object], calls: int, device: str) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started
