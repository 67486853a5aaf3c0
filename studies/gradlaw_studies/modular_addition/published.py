"""What was published: the distribution of kinds by modulus, and what sampling alone does to it.

Tian, arXiv 2410.01779: q = 512, weight decay 5e-5, five seeds. The published shares are of the factorable
frequencies of order 4 or 6 and sum to 100 by themselves; the share of order-4 frequencies that are not
factorable stands beside them, on a base of its own. Here both are on one base.
"""

from __future__ import annotations

from collections.abc import Mapping

PUBLISHED_SEEDS = 5
MODULI = (23, 71, 127)
NOT_FACTORABLE = "order 4, not factorable"
KINDS = ("nu_i*xi", "nu_i*syn_ab", "nu*syn", "other")
"""Kinds of factorable frequencies: the first of order 4, the next two of order 6."""

_PERCENT = {
    23: (0.0, 47.07, 11.31, 39.80, 1.82),
    71: (0.0, 72.57, 4.00, 21.14, 2.29),
    127: (1.50, 82.96, 2.25, 14.13, 0.66),
}
"""Percent of order-4 frequencies not factorable; then of the factorable ones, each of ``KINDS``."""


def published_shares(modulus: int) -> Mapping[str, float]:
    """Shares of the five categories at one modulus, summing to 1.

    If u of the order-4 frequencies are not factorable, there are u / (1 - u) of them for each that is; these
    are taken to be the ones of kind ``nu_i*xi`` (some of order 4 may be ``other``: 0.01% off at most).

    Args:
        modulus: 23, 71 or 127.

    >>> for kind, share in published_shares(127).items():
    ...     print(f"{kind}: {share:.4f}")
    nu_i*xi: 0.8193
    nu_i*syn_ab: 0.0222
    nu*syn: 0.1395
    other: 0.0065
    order 4, not factorable: 0.0125
    """
    failed, *factorable = _PERCENT[modulus]
    beside = factorable[0] * failed / (100 - failed)
    whole = sum(factorable) + beside
    shares = {kind: value / whole for kind, value in zip(KINDS, factorable, strict=True)}
    return {**shares, NOT_FACTORABLE: beside / whole}
