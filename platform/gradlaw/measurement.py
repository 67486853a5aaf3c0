"""Measurement: the other kind of trial. Configuration and seed in, rows out; the engine trains nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.probe import Columns
from gradlaw.table import Table


class Measurement(ABC):
    """Algebra, a linear system, an ODE, a timing. Same identity, store and states as a trained trial.

    Attributes:
        name, version: Identity; raise the version whenever the numbers change.
        hyperparameters: Declared; all are given to ``measure``.
        exclusive: Whether it must run alone on its machine, as a timing must.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = ()
    exclusive: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def tables(cls) -> tuple[Table, ...]:
        """The tables it fills."""

    @abstractmethod
    def measure(self, hyperparameters: Mapping[str, Scalar], seed: int) -> Mapping[str, Columns]:
        """Rows by table name. Random numbers come from the seed's streams alone."""
