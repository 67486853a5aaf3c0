"""Run as a module: tries torch on every device and prints what came of it, as JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any


def _kernels() -> dict[str, Any]:
    import torch

    found = []
    for number in range(torch.cuda.device_count()):
        name, size, cause = "a GPU", 0, ""
        try:  # the first touch of a GPU is what fails where torch and driver do not fit
            properties = torch.cuda.get_device_properties(number)
            name, size = properties.name, properties.total_memory
            ones = torch.ones(64, 64, device=f"cuda:{number}")
            cause = "" if (ones @ ones).sum().item() == 64.0**3 else "a product of matrices came out wrong"
        except RuntimeError as error:
            cause = str(error).splitlines()[0]
        found.append({"name": name, "bytes": size, "cause": cause})
    return {"gpus": found, "torch": str(torch.__version__), "cuda": torch.version.cuda or ""}


def _compile() -> dict[str, Any]:
    """Compiles into a folder of its own, so that no cache hides what is missing."""
    with tempfile.TemporaryDirectory(prefix="gradlaw-doctor-") as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        os.environ["TRITON_CACHE_DIR"] = folder
        import torch
        from torch._inductor.cpp_builder import get_cpp_compiler

        torch.set_num_threads(1)
        devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        causes = {device: _compiled(torch, device) for device in devices}
        compiler = get_cpp_compiler() if not causes["cpu"] else ""
    return {"devices": causes, "compiler": compiler}


def _compiled(torch: Any, device: str) -> str:
    """Why it cannot be compiled for; "" if it can."""
    try:
        doubled = torch.compile(lambda x: torch.sin(x) * 2.0)
        out = doubled(torch.zeros(64, device=device))
    except Exception as error:  # noqa: BLE001 - whatever a compiler does wrong is what is asked for
        return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
    return "" if float(out.abs().max()) == 0.0 else "what it compiled computes wrongly"


if __name__ == "__main__":
    facts = _kernels() if sys.argv[1] == "kernels" else _compile()
    sys.stdout.write(json.dumps(facts) + "\n")
