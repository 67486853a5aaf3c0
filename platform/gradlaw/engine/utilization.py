"""The share of its device and of its CPUs that a worker uses, measured.

A GPU tells it by NVML, which comes with its driver: the share of the last second, about, in which a kernel of
any process ran. Nothing of it is estimated from what the worker does, since a worker that waits for its own
launches looks as busy as one that keeps the device at work.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

import torch

from gradlaw.busy import Usage

_LIBRARY = "libnvidia-ml.so.1"


class Utilization:
    """Samples what this process uses.

    Args:
        device: The torch device it trains on.
        threads: CPUs it was given.
    """

    def __init__(self, device: str, threads: int) -> None:
        self._threads = threads
        self._uuid = gpu_uuid(device)
        self._began = self._last = os.times()
        self._seen: list[float] = []

    def __call__(self) -> dict[str, float | None]:
        """Shares of the CPUs since the last call, and of the GPU of late, as a lease tells them."""
        now, last = os.times(), self._last
        self._last = now
        return {"cpu_utilisation": self._share(last, now), "gpu_utilisation": self.gpu()}

    def usage(self) -> Usage:
        """Since the beginning: of the GPU the mean of what was sampled."""
        now = os.times()
        gpu = sum(self._seen) / len(self._seen) if self._seen else None
        return Usage(now.elapsed - self._began.elapsed, self._share(self._began, now), gpu)

    def gpu(self) -> float | None:
        """Samples the GPU: to be called while it has work, or within moments after."""
        share = gpu_busy(self._uuid) if self._uuid else None
        if share is not None:
            self._seen.append(share)
        return share

    def _share(self, first: os.times_result, last: os.times_result) -> float:
        used_s = last.user + last.system - first.user - first.system
        wall_s = max(1e-3, last.elapsed - first.elapsed)
        return round(min(1.0, used_s / wall_s / self._threads), 3)


def gpu_uuid(device: str) -> str:
    """The name by which NVML knows a torch device; "" for what is no GPU of NVIDIA's."""
    if torch.device(device).type != "cuda":
        return ""
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return f"GPU-{uuid}" if uuid else ""


class _Rates(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))  # percent


def gpu_busy(uuid: str) -> float | None:
    """Share of the last second or so in which a GPU was at work, in [0, 1]; None where NVML does not tell."""
    library = _nvml()
    if library is None:
        return None
    handle, rates = ctypes.c_void_p(), _Rates()
    if library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
        return None
    if library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(rates)):
        return None
    return float(rates.gpu) / 100.0


@cache
def _nvml() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(_LIBRARY)
        return None if library.nvmlInit_v2() else library
    except (OSError, AttributeError):
        return None
