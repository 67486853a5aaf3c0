"""How long it takes to measure trained networks at every frequency.

Prints a JSON line a case, with machine, versions and date: seconds to find orders, factors, residuals and
kinds of 1,000 networks at d = 127 and q = 512 at all 63 frequencies, from weights in memory in float32. Nodes
are in a random order, 1% of noise is added, and ``right`` is the share of frequencies whose kind is the one
that was put there.

One process and nearly all of it on one core; ``load`` is the number of processes that wanted one.

- ``published_mix``: kinds as published at d = 127, mostly of order four.
- ``order_six``: order six everywhere, where ten times as many splits are looked at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from _results import emit, parser
from numpy.typing import NDArray

from gradlaw_studies.modular_addition.algebra.constructions import block, compose, drawn_phases
from gradlaw_studies.modular_addition.algebra.fourier import weights
from gradlaw_studies.modular_addition.measurement.orders import measure_networks

MODULUS, WIDTH = 127, 512
BATCH = 50
NOISE = 0.01
CASES: Mapping[str, Mapping[str, float]] = {
    "published_mix": {"nu_i*xi": 0.836, "nu_i*syn_ab": 0.022, "nu*syn": 0.142},
    "order_six": {"nu_i*syn_ab": 0.5, "nu*syn": 0.5},
}


def networks(shares: Mapping[str, float], num: int, seed: int) -> tuple[NDArray[Any], NDArray[np.str_]]:
    """Weights [num, 3, d, q] and the kind at each frequency [num, n]."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(list(shares), size=(num, MODULUS // 2), p=list(shares.values()))
    given = np.zeros((num, 3, MODULUS, WIDTH), dtype=np.float32)
    for network, row in enumerate(kinds):
        free = drawn_phases(MODULUS, rng)
        # a nu within the tolerance of i counts as the other family; nu = 1 and its like do not
        free = free._replace(nu=np.where(near_i(free.nu), 1.0, free.nu))
        z = compose({k: block(kind, free, k) for k, kind in enumerate(row, start=1)}, MODULUS)
        nodes = rng.permutation(WIDTH)[: z.shape[2]]
        exact = weights(z, MODULUS)
        given[network][:, :, nodes] = exact
        given[network] += NOISE * exact.std() * rng.normal(size=given[network].shape)
    return given, kinds


def near_i(nu: NDArray[np.complex128]) -> NDArray[np.bool_]:
    """Where nu, or nu times a third root of unity, is near i or -i."""
    return np.abs(np.angle(nu) % (np.pi / 3) - np.pi / 6) < 0.1


def cases(num: int) -> Iterator[dict[str, Any]]:
    for case, shares in CASES.items():
        wall, cpu, right = 0.0, 0.0, 0
        for seed in range(num // BATCH):
            given, kinds = networks(shares, BATCH, seed)
            begun, begun_cpu = time.perf_counter(), time.process_time()
            found = measure_networks(given)
            wall += time.perf_counter() - begun
            cpu += time.process_time() - begun_cpu
            right += int((found.kind == kinds).sum())
        yield {
            "benchmark": "frequencies",
            "case": case,
            "modulus": MODULUS,
            "width": WIDTH,
            "networks": num,
            "frequencies": num * (MODULUS // 2),
            "wall_s": round(wall, 2),
            "cpu_s": round(cpu, 2),
            "ms_per_network": round(1e3 * wall / num, 2),
            "right": right / (num * (MODULUS // 2)),
            "load": round(os.getloadavg()[0], 1),
        }


def main() -> None:
    options = parser(__doc__).parse_args()
    for record in cases(BATCH if options.quick else 1000):
        emit(record, keep=options.keep)


if __name__ == "__main__":
    main()
