"""What the contest's claims, figures and grids must agree on."""

from __future__ import annotations

import math

ADDED = 0.99
"""Held-out accuracy at which modular addition counts as learned; of 87 pairs that is all of them."""

UNTUNED_LR = 1e-4
"""Lion's declared lr (2302.06675), for large models and long runs: below every range that is searched."""

GUESS_LOSS = math.log(10)
"""Nats: the loss of the uniform guess over ten digits, which is always at hand. A run that diverged, or ended
worse, counts as that guess."""

ARMS = ("lion", "adamw", "adam", "rmsprop", "adagrad", "sgd_momentum", "nesterov")
"""Names of the arms, in the order in which figures list them."""

AT_RANDOM = "_random"
"""How the name of a search ends that draws its configurations at random; the others learn (TPE)."""
