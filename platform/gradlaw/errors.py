"""Errors: one root, and each subclass also inherits the builtin a caller would expect.

A message says what is wrong, what was given, what is allowed and how to mend it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class GradlawError(Exception):
    """Root of every error gradlaw raises on purpose."""


class UsageError(GradlawError, ValueError):
    """A setting or an argument that cannot be meant. The command line exits with code 2."""


class UnknownNameError(UsageError, LookupError):
    """A name that is not in a registry; the message lists the known ones.

    >>> raise UnknownNameError("dmeo", kind="preset", known=["demo", "smoke"])
    Traceback (most recent call last):
        ...
    gradlaw.errors.UnknownNameError: unknown preset 'dmeo'; did you mean 'demo'? known: demo, smoke
    """

    def __init__(self, name: str, *, kind: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        super().__init__(f"unknown {kind} {name!r}; {hint}known: {', '.join(names) or 'none'}")


class ConfigurationError(UsageError):
    """All faults of one configuration at once.

    >>> raise ConfigurationError(["lr: got -1, allowed > 0", "beta1: got 2, allowed [0, 1)"])
    Traceback (most recent call last):
        ...
    gradlaw.errors.ConfigurationError: 2 faults:
      lr: got -1, allowed > 0
      beta1: got 2, allowed [0, 1)
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        noun = "fault" if len(self.faults) == 1 else "faults"
        super().__init__("\n  ".join([f"{len(self.faults)} {noun}:", *self.faults]))


@contextmanager
def all_faults(faults: Iterable[str] = ()) -> Iterator[list[str]]:
    """Gathers the faults of a block with those already known, and raises them together at its end.

    A :class:`ConfigurationError` of the block ends the block and adds its faults; so may the block, to the
    list it is given.

    >>> with all_faults(["seeds: got 0, allowed >= 1"]) as faults:
    ...     raise ConfigurationError(["lr: got -1, allowed > 0"])
    Traceback (most recent call last):
        ...
    gradlaw.errors.ConfigurationError: 2 faults:
      seeds: got 0, allowed >= 1
      lr: got -1, allowed > 0
    """
    found = list(faults)
    try:
        yield found
    except ConfigurationError as error:
        found += error.faults
    if found:
        raise ConfigurationError(found)


class UndecidableError(UsageError):
    """A study whose declared seeds cannot decide its claims; the message names the seeds needed."""


class StoreError(GradlawError, OSError):
    """A store that cannot be read or written as asked."""


class SchemaError(StoreError, TypeError):
    """Rows, a file or a store that does not fit the declared, versioned schema."""


class ClusterError(GradlawError, ConnectionError):
    """A cluster that cannot be reached, or refuses what it is asked."""


class DataError(GradlawError, OSError):
    """A data set that is not where it should be, or is not what it should be."""


class QueryError(GradlawError, ValueError):
    """A SQL statement that is refused, fails or passes its limits."""


class EncodingError(GradlawError, TypeError):
    """A value that has no stable encoding and so cannot be part of a fingerprint."""


class ClaimError(GradlawError, ValueError):
    """A claim whose sample does not have the columns or values its test needs."""
