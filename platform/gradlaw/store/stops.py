"""Runs that are told to end: their workers, wherever they are, hear of it through the store."""

from __future__ import annotations

from gradlaw.errors import StoreError
from gradlaw.store.files import TEMPORARY, Files


def ask(files: Files, driver: str) -> None:
    """Tells the workers of a run to keep checkpoints and end.

    Args:
        files: The store's.
        driver: Token of the run.
    """
    files.create(_key(driver), b"", durable=False)


def is_asked(files: Files, driver: str) -> bool:
    """Whether the workers of a run are to end; not those of no run, nor where the store does not say."""
    try:
        return bool(driver) and files.exists(_key(driver))
    except StoreError:
        return False


def clear(files: Files, driver: str) -> None:
    """Forgets that a run was told to end. What a killed one leaves is empty and means nothing to others."""
    files.delete(_key(driver))


def _key(driver: str) -> str:
    return f"{TEMPORARY}/stop-{driver}"
