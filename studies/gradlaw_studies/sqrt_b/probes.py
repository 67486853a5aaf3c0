"""What this study measures along a trial: three table probes.

Shapes: N training rows, P parameters, K directions, D draws, C columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlaw.probe import Columns, Snapshot, TableProbe
from gradlaw.random import streams_of
from gradlaw.random_host import HostStreams
from gradlaw.table import Table
from gradlaw_studies.sqrt_b import draws
from gradlaw_studies.sqrt_b.controls import (
    Transform,
    batch_norm_losses,
    clip,
    transformed_std,
    window_variances,
)
from gradlaw_studies.sqrt_b.law import batch_sizes
from gradlaw_studies.sqrt_b.minimum import softmax_minimum
from gradlaw_studies.sqrt_b.noise import (
    BatchNoise,
    Population,
    batch_noise,
    exact_kurtosis,
    excess_kurtosis,
    partition_variances,
    population,
    prefix_sums,
)
from gradlaw_studies.sqrt_b.persample import PerSample, per_sample
from gradlaw_studies.sqrt_b.rows import (
    Rows,
    control_rows,
    kurtosis_row,
    noise_rows,
    noise_scale_row,
    phase_steps,
)
from gradlaw_studies.sqrt_b.tables import (
    GRADIENT_NOISE,
    LOSS_MINIMUM,
    NOISE_CONTROL,
    NOISE_KURTOSIS,
    NOISE_PARTITION,
    NOISE_SCALE,
)

KURTOSIS_BLOCK = 20_000  # draws of the kurtosis held at once; bounds memory


@dataclass(frozen=True, kw_only=True)
class SquareRootLaw(TableProbe):
    """Noise of mini-batches against B, by index on the stored per-sample values of every training row.

    Attributes:
        num_draws: D, mini-batches of each size, with and without replacement; >= 2.
        kurtosis_draws: Mini-batches of each size behind a kurtosis; at least 10^5 to see small ones.
        kurtosis_max_batch: Largest B of which the kurtosis is measured.
        num_partitions: Random partitions of the rows into batches.
        num_directions: K, fixed random unit vectors, the same at every step of a trial.
        kurtosis_directions: How many of them have their kurtosis measured, <= K.
    """

    name = "square_root_law"

    num_draws: int = 2048
    kurtosis_draws: int = 100_000
    kurtosis_max_batch: int = 64
    num_partitions: int = 256
    num_directions: int = 4
    kurtosis_directions: int = 2

    def tables(self) -> tuple[Table, ...]:
        return (GRADIENT_NOISE, NOISE_KURTOSIS, NOISE_SCALE, NOISE_PARTITION, NOISE_CONTROL)

    def at(self, steps: int) -> Sequence[int]:
        return phase_steps(steps)

    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        stored = per_sample(snapshot)
        # Directions are drawn at step 0 whatever the snapshot's step: they are fixed along a trial.
        streams = HostStreams(snapshot.seed, part=draws.PROJECTIONS)
        directions = draws.unit_projections(streams, self.num_directions, stored.gradients.shape[1])
        held = population(stored.losses, stored.gradients, directions)
        rows = Rows(snapshot)
        self._add_with_replacement(rows, snapshot, held)
        for noise, _ in self._batches(snapshot, held, replacement=False):
            for row in noise_rows(held, noise, replacement=False):
                rows.add(GRADIENT_NOISE, num_draws=self.num_draws, **row)
        self._add_kurtosis(rows, snapshot, held)
        self._add_partitions(rows, snapshot, held)
        _add_contiguous(rows, stored, held)
        return rows.columns(self.tables())

    def _add_with_replacement(self, rows: Rows, snapshot: Snapshot, held: Population) -> None:
        """Noise, noise scale, and the controls that transform the same mini-batch gradients."""
        single = held.vectors + held.mean.to(torch.float32)
        # The median single gradient is at the threshold, so clipping binds at small B and less at large.
        transforms: dict[str, Transform] = {
            "clipped": clip(float(single.norm(dim=1).median())),
            "sign": torch.sign,
        }
        sigmas = {name: transformed_std(single, move, held.directions) for name, move in transforms.items()}
        norms2 = {}
        for noise, gradients in self._batches(snapshot, held, replacement=True):
            norms2[noise.batch_size] = noise.norm2
            for row in noise_rows(held, noise, replacement=True):
                rows.add(GRADIENT_NOISE, num_draws=self.num_draws, **row)
            for name, move in transforms.items():
                std = transformed_std(gradients, move, held.directions)
                for row in control_rows(noise.batch_size, std, sigmas[name]):
                    rows.add(NOISE_CONTROL, control=name, num_draws=self.num_draws, **row)
        rows.add(NOISE_SCALE, num_draws=self.num_draws, **noise_scale_row(held, norms2))

    def _batches(
        self, snapshot: Snapshot, held: Population, *, replacement: bool
    ) -> Iterator[tuple[BatchNoise, Tensor]]:
        """Noise and mini-batch gradients, float32 [D, P], at each batch size."""
        sizes = batch_sizes(len(held.scalars))
        part = draws.REPLACEMENT if replacement else draws.NO_REPLACEMENT
        draw = draws.draw_with_replacement if replacement else draws.draw_without_replacement
        drawn = draw(_streams(snapshot, part), len(held.scalars), self.num_draws, sizes[-1])
        indices = torch.as_tensor(drawn, device=held.scalars.device)
        mean = held.mean.to(torch.float32)
        scalars = prefix_sums(held.scalars, indices, sizes)
        vectors = prefix_sums(held.vectors, indices, sizes)
        for (size, scalar_sums), (_, vector_sums) in zip(scalars, vectors, strict=True):
            yield batch_noise(held, scalar_sums, vector_sums, size), vector_sums / size + mean

    def _add_kurtosis(self, rows: Rows, snapshot: Snapshot, held: Population) -> None:
        values = held.scalars[:, : 1 + self.kurtosis_directions]
        sizes = [size for size in batch_sizes(len(values)) if size <= self.kurtosis_max_batch]
        laws = {
            (size, column): exact_kurtosis(values[:, column], size, self.kurtosis_draws)
            for size in sizes
            for column in range(values.shape[1])
        }
        largest = max((size for (size, _), law in laws.items() if law.measurable), default=0)
        measured = self._kurtosis(snapshot, values, [size for size in sizes if size <= largest])
        for (size, column), law in laws.items():
            found = float(measured[size][column]) if law.measurable else None
            rows.add(NOISE_KURTOSIS, batch_size=size, **kurtosis_row(law, column, self.kurtosis_draws, found))

    def _kurtosis(self, snapshot: Snapshot, values: Tensor, sizes: list[int]) -> dict[int, Tensor]:
        """Excess kurtosis [C] of the means of ``values`` [N, C] over many draws with replacement."""
        sums: dict[int, list[Tensor]] = {size: [] for size in sizes}
        for block, first in enumerate(range(0, self.kurtosis_draws, KURTOSIS_BLOCK) if sizes else ()):
            count = min(KURTOSIS_BLOCK, self.kurtosis_draws - first)
            streams = _streams(snapshot, draws.KURTOSIS + block)
            drawn = draws.draw_with_replacement(streams, len(values), count, sizes[-1])
            for size, found in prefix_sums(values, torch.as_tensor(drawn, device=values.device), sizes):
                sums[size].append(found.clone())
        return {size: excess_kurtosis(torch.cat(parts)) for size, parts in sums.items()}

    def _add_partitions(self, rows: Rows, snapshot: Snapshot, held: Population) -> None:
        values, count = held.scalars[:, :-1], self.num_partitions
        drawn = _streams(snapshot, draws.PARTITIONS).permutations("noise", len(values), count)
        orders = torch.as_tensor(drawn, device=values.device)
        for size in batch_sizes(len(values)):
            found, exact = partition_variances(values, orders, size), values.var(dim=0, correction=1) / size
            for quantity, chosen in (("loss", slice(0, 1)), ("projection", slice(1, None))):
                rows.add(
                    NOISE_PARTITION,
                    batch_size=size,
                    quantity=quantity,
                    num_partitions=count,
                    num_batches=len(values) // size,
                    num_rows=len(values),
                    std=float(found[chosen].mean()) ** 0.5,
                    std_exact=float(exact[chosen].mean()) ** 0.5,
                )


def _streams(snapshot: Snapshot, part: int) -> HostStreams:
    return HostStreams(snapshot.seed, step=snapshot.step, part=part)


def _add_contiguous(rows: Rows, stored: PerSample, held: Population) -> None:
    """Contiguous batches in file order (training rows ascend in it) and sorted by class."""
    count = len(stored.classes)
    orders = {
        "file_order": torch.arange(count, device=stored.classes.device),
        "class_sorted": torch.argsort(stored.classes, stable=True),
    }
    for control, order in orders.items():
        scalars, vectors = held.scalars[order, :-1], held.vectors[order].to(torch.float64)
        sizes = batch_sizes(count)
        pairs = zip(window_variances(scalars, sizes), window_variances(vectors, sizes), strict=True)
        for (size, variances), (_, parts) in pairs:
            std = {
                "loss": float(variances[0]) ** 0.5,
                "projection": float(variances[1:].mean()) ** 0.5,
                "total": float(parts.sum()) ** 0.5,
            }
            for row in control_rows(size, std, held.sigmas):
                rows.add(NOISE_CONTROL, control=control, num_draws=count, **row)


@dataclass(frozen=True, kw_only=True)
class BatchNormLaw(TableProbe):
    """A control: mini-batch losses of a network with batch norm, whose samples are coupled.

    Real batches of B = 2, 4, ... rows drawn with replacement are evaluated in training mode. The law's
    sigma is that of single samples in evaluation mode, where they are not coupled.

    Attributes:
        num_draws: Mini-batches of each size, >= 2.
    """

    name = "batch_norm_law"

    num_draws: int = 2048

    def tables(self) -> tuple[Table, ...]:
        return (NOISE_CONTROL,)

    def at(self, steps: int) -> Sequence[int]:
        return phase_steps(steps)

    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        singles = per_sample(snapshot).losses
        sigma = {"loss": float(singles.std(correction=0))}
        sizes = [size for size in batch_sizes(len(singles)) if size > 1]
        drawn = draws.draw_with_replacement(
            _streams(snapshot, draws.BATCH_NORM), len(singles), self.num_draws, sizes[-1]
        )
        indices = torch.as_tensor(drawn, device=singles.device)
        rows = Rows(snapshot)
        for size, losses in batch_norm_losses(snapshot, indices, sizes).items():
            for row in control_rows(size, {"loss": float(losses.std(correction=1))}, sigma):
                rows.add(NOISE_CONTROL, control="batch_norm", num_draws=self.num_draws, **row)
        return rows.columns(self.tables())


@dataclass(frozen=True, kw_only=True)
class LossMinimum(TableProbe):
    """The smallest loss that a trial's training rows allow, to which its loss floor is compared.

    For :class:`gradlaw.tasks.digits.DigitsSoftmax` with ``l2`` > 0.
    """

    name = "loss_minimum"

    def tables(self) -> tuple[Table, ...]:
        return (LOSS_MINIMUM,)

    def at(self, steps: int) -> Sequence[int]:
        return [steps]

    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        assert snapshot.split is not None
        task = snapshot.task.to(snapshot.split.train.device, torch.float64)
        streams = streams_of(snapshot.seed, device=snapshot.split.train.device)
        images, classes = task.batch(snapshot.split.train, streams)
        l2 = float(snapshot.hyperparameters["l2"])
        found = softmax_minimum(images.cpu().numpy(), classes.cpu().numpy(), l2)
        rows = Rows(snapshot)
        rows.add(LOSS_MINIMUM, **vars(found))
        return rows.columns(self.tables())
