"""A run that is told to end soon: its packs keep checkpoints, and the next run goes on from there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gradlaw.errors import StoreError
from gradlaw.store import stops
from gradlaw.store.files import Files

TELL_S = 10.0
"""Seconds that a store may take to tell the workers, beyond the run's end."""


class Stop:
    """The wish that a run ends soon. Ask from anywhere, a signal's handler included.

    Attributes:
        asked: Whether the run is to end.
    """

    def __init__(self) -> None:
        self.asked = False
        self._woken = threading.Event()

    def ask(self) -> None:
        """Tells the run to end: no pack begins, and those that run end once they have kept a checkpoint."""
        self.asked = True
        self._woken.set()

    @contextmanager
    def heard(self, files: Files, driver: str) -> Iterator[None]:
        """In here the workers of a run hear of it through the store.

        Args:
            files: The store's.
            driver: Token of the run.
        """

        def tell() -> None:
            self._woken.wait()
            if self.asked:
                with suppress(StoreError):  # then the run ends when its time is over
                    stops.ask(files, driver)

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            self._woken.set()
            teller.join(TELL_S)
            if self.asked:
                with suppress(StoreError):
                    stops.clear(files, driver)
            else:
                self._woken.clear()  # for the next run of the same options
