"""Every schedule in one compiled function over members of different settings, against the same by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gradlaw.engine.compiled import Flattened
from gradlaw.schedules import SCHEDULES

WIDTH, STEPS = 5, 8


@pytest.mark.slow
def test_compiled_as_alone() -> None:
    whole = {"warmup_steps": 2, "decay_every": 2, "timescale": 5, "steps": STEPS}
    members = {name: torch.arange(WIDTH) + value for name, value in whole.items()}
    members |= {
        name: torch.linspace(0.2, 0.9, WIDTH).double()
        for name in ("final_share", "decay_factor", "decay_share", "beta2", "lr")
    }

    def lrs(hp: dict[str, Tensor], t: Tensor) -> list[Tensor]:
        return [kind().lr(t, hp) for kind in SCHEDULES.values()]

    arguments = (members, torch.tensor(0))
    packed = Flattened(torch.vmap(lrs, in_dims=(0, None)), arguments)
    tensors = Flattened.leaves(arguments)
    packed.compile(packed.trace(tensors), tensors)
    for t in range(STEPS):
        found = packed.call(*Flattened.leaves((members, torch.tensor(t))))
        for member in range(WIDTH):
            alone = lrs({name: value[member] for name, value in members.items()}, torch.tensor(t))
            ours = [float(column[member]) for column in found]
            np.testing.assert_allclose(ours, [float(value) for value in alone], rtol=1e-12)
