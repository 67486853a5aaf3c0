"""Samples: points in the unit cube, random or quasi-random, and what hyperparameters they stand for.

Each axis draws from a stream of its own, keyed by the file's seed and the axis's name, so that an axis added
moves no other at random. Quasi-random points are those of Sobol with the direction numbers of Joe and Kuo
(SIAM J. Sci. Comput. 30, 2008), shifted digitally: each coordinate's bits are xored with a random word of its
stream, which keeps the balance of the net and makes each point uniform (Owen, "Quasi-Monte Carlo sampling",
SIGGRAPH 2003 course, section 2.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gradlaw.fingerprint import digest
from gradlaw.hyperparameter import Scalar
from gradlaw.sweep.axes import Range

_BITS = 30  # of a coordinate of Sobol's points


def unit_points(method: str, names: Sequence[str], num: int, seed: int) -> NDArray[np.float64]:
    """Points in [0, 1), shape [num, len(names)].

    Args:
        method: "sobol" or "random".
        names: Of the axes, whose streams they name.
        num: Number of points, >= 1.
        seed: Of all streams, >= 0.
    """
    if method == "random":
        return np.stack([_words(seed, name, num) * 2.0**-53 for name in names], axis=1)
    from scipy.stats import qmc

    power = int(num - 1).bit_length()
    net = qmc.Sobol(len(names), scramble=False, bits=_BITS).random_base2(power)[:num]
    shift = np.array([_words(seed, name, 1)[0] >> np.uint64(53 - _BITS) for name in names])
    points: NDArray[np.float64] = ((net * 2.0**_BITS).astype(np.uint64) ^ shift) * 2.0**-_BITS
    return points


def _words(seed: int, name: str, num: int) -> NDArray[np.uint64]:
    """Uniform words of 53 bits, shape [num], by Philox4x64-10."""
    key = int(digest(["sample", seed, name], length=32), 16)
    words: NDArray[np.uint64] = np.random.Philox(key=key).random_raw(num) >> np.uint64(11)
    return words


def sample_points(
    axes: Mapping[str, Range | Sequence[Scalar]], method: str, num: int, seed: int
) -> list[dict[str, Scalar]]:
    """Values by name of each point, in the order drawn; a point drawn again is left out.

    Args:
        axes: A range, or values that are equally likely.
        method: "sobol" or "random".
        num: Number of points, >= 1.
        seed: As of :func:`unit_points`.
    """
    unit = unit_points(method, list(axes), num, seed)
    columns = [
        [_at(choices, float(share)) for share in unit[:, index]]
        for index, choices in enumerate(axes.values())
    ]
    drawn = dict.fromkeys(zip(*columns, strict=True))
    return [dict(zip(axes, values, strict=True)) for values in drawn]


def _at(choices: Range | Sequence[Scalar], share: float) -> Scalar:
    return choices.at(share) if isinstance(choices, Range) else choices[int(share * len(choices))]
