"""Memory: how much there is for a worker, what a program takes of it, and how a lack of it is told."""

from __future__ import annotations

import resource
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice.

    torch has a class for its own allocations on devices, not for those of hosts, of libraries and of drivers.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    said = "out of memory" in text or "alloc_failed" in text or ("alloc" in text and "memory" in text)
    return isinstance(error, RuntimeError) and said


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def available_bytes(device: str) -> int:
    """Bytes that can still be had on a device; 0 where the system does not tell.

    On a CPU what the machine has left, or this process's control groups, whichever is less.
    """
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    left = [limit - used for limit, used in cgroup_bytes()]
    if (machine := _machine_bytes()) is not None:
        left.append(machine)
    return max(0, min(left, default=0))


def _machine_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))) * 1024
    except (OSError, StopIteration, IndexError, ValueError):
        return None


CGROUPS = Path("/sys/fs/cgroup")
_FILES = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
_NO_LIMIT = 2**60
"""Version 1 of control groups writes a number near 2^63 where there is no limit."""


def cgroup_bytes(root: Path = CGROUPS, process: Path = Path("/proc/self/cgroup")) -> list[tuple[int, int]]:
    """Limits of the control groups that this process is in, and the bytes used of each; unlimited ones not.

    Args:
        root: Where they are mounted.
        process: Names those of the process.
    """
    try:
        lines = [line.split(":", 2) for line in process.read_text(encoding="ascii").splitlines()]
    except OSError:
        return []
    folders = [root, root / "memory"]  # a container sees its own groups as the root
    for _, controllers, path in (line for line in lines if len(line) == 3):
        own = {"": root, "memory": root / "memory"}.get(controllers)
        while own and path.strip("/"):
            folders.append(own / path.strip("/"))
            path = path.rpartition("/")[0]
    found = []
    for folder in folders:
        for limit, used in _FILES:
            try:
                pair = int((folder / limit).read_text()), int((folder / used).read_text())
            except (OSError, ValueError):  # not there, or "max"
                continue
            if pair[0] < _NO_LIMIT:
                found.append(pair)
    return found


def widest_batch(room_bytes: float, member_bytes: int) -> int:
    """The largest number of members whose batch fits into so much memory, 1 at least.

    >>> [widest_batch(room, 10) for room in (1000.0, 39.0, 0.0)]
    [100, 3, 1]
    """
    return max(1, int(room_bytes // member_bytes))


@contextmanager
def kept_to(memory_bytes: int) -> Iterator[None]:
    """While entered, lets this process's data grow to so many bytes: beyond them torch raises.

    What lies in the stacks of threads, which is asked for but hardly used, is not counted. Nothing happens
    where the system does not tell how much data a process has, as macOS.

    Args:
        memory_bytes: How many; 0: any number.
    """
    data = _data_bytes() if memory_bytes else None
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if data is not None:
        limit = memory_bytes + max(0, data - process_bytes())
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == -1 else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmData"))) * 1024
    except (OSError, StopIteration, ValueError):
        return None


def process_bytes() -> int:
    """Bytes of memory that this process holds; the most it ever held where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return int(pages) * resource.getpagesize()


class PeakBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """While entered, counts the bytes of tensors made, and the most that were there at once.

    Attributes:
        peak: That most, without what was there before.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.peak = self._now = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Runs an operator and looks at what it made."""
        del types
        before = {id(leaf.untyped_storage()) for leaf in tree_leaves((args, kwargs)) if _held(leaf)}
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if _held(leaf) and id(leaf.untyped_storage()) not in before:  # not a view of what was given
                self._add(leaf.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        size = storage.nbytes()
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self._now -= size


def _held(leaf: object) -> bool:
    return isinstance(leaf, Tensor)
