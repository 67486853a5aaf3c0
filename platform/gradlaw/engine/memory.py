"""Lack of memory: how it is told from other errors."""

from __future__ import annotations

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice: torch has a class for devices, not for hosts."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and "alloc" in text and "memory" in text


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class."""
    return (str(error).splitlines() or [type(error).__name__])[0]
