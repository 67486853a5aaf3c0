"""GPUs and compilers, tried for real in a process of its own: drivers and compilers crash and hang."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

from gradlaw.doctor.finding import ExaminationError, Finding, Subject, in_child

KERNEL_S, COMPILE_S, DRIVER_S = 60.0, 120.0, 15.0


def gpus(_: Subject) -> Iterator[Finding]:
    """How many the driver has, and whether torch computes on each."""
    driver = _driver()
    try:
        facts = in_child("gradlaw.doctor.torch_facts", "kernels", limit_s=KERNEL_S)
    except ExaminationError as error:
        remedy = "look at nvidia-smi and dmesg; a GPU that hangs is freed by a reset or a reboot"
        yield Finding("fail", f"torch cannot compute on a GPU: {error}", remedy)
        return
    seen = facts["gpus"]
    for number, gpu in enumerate(seen):
        found = f"{number}: {gpu['name']}, {gpu['bytes'] / 2**30:.0f} GiB, a kernel ran"
        if gpu["cause"]:
            remedy = "install a torch built for this GPU and driver; pytorch.org lists them"
            yield Finding("fail", f"{number}: {gpu['name']}: {gpu['cause']}", remedy)
        else:
            yield Finding("ok", f"{found}; driver {driver[0]}, CUDA {facts['cuda']}" if driver else found)
    if len(driver) > len(seen):
        found = f"the driver has {len(driver)} and torch {facts['torch']} sees {len(seen)}"
        hidden = bool(facts["cuda"]) and "CUDA_VISIBLE_DEVICES" in os.environ
        remedy = "install a torch built for CUDA and for this driver: pytorch.org"
        if hidden:
            remedy = "CUDA_VISIBLE_DEVICES hides some; unset it if that is not meant"
        yield Finding("warn" if hidden else "fail", found, remedy)
    elif not seen:
        yield Finding("ok", "none: packs run on the CPU")


def _driver() -> list[str]:
    """The driver's version, once for each GPU that it has; none where there is no driver."""
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    if shutil.which(words[0]) is None:
        return []
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=DRIVER_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return told.stdout.split()


def compiler(_: Subject) -> Iterator[Finding]:
    """Whether torch compiles here: C++ for the CPU, Triton where there is a GPU."""
    try:
        facts = in_child("gradlaw.doctor.torch_facts", "compile", limit_s=COMPILE_S)
    except ExaminationError as error:
        yield _uncompiled("cpu", str(error))
        return
    for device, cause in facts["devices"].items():
        if cause:
            yield _uncompiled(device, cause)
        else:
            yield Finding("ok", f"torch.compile works on {device} ({facts['compiler']})")


def _uncompiled(device: str, cause: str) -> Finding:
    remedy = (
        "install g++ (apt install g++, dnf install gcc-c++, module load gcc) or name one in CXX"
        if device == "cpu"
        else "install the triton of this torch (pip install triton) and a C compiler"
    )
    return Finding("warn", f"torch.compile does not work on {device}, so packs run eagerly: {cause}", remedy)
