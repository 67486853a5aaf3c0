"""Launchers: where packs run. Only these modules import ray."""

from __future__ import annotations

from gradlaw.errors import UnknownNameError
from gradlaw.launch.base import Launcher

LAUNCHERS = ("inline", "ray")


def make_launcher(name: str, *, address: str | None = None, device: str = "cpu") -> Launcher:
    """A launcher by name.

    Args:
        name: "inline" or "ray".
        address: Of a running Ray cluster; None starts one on this machine. Only for "ray".
        device: Of every pack; with "cuda" each asks the cluster for a GPU.

    Raises:
        UnknownNameError: No such launcher.
    """
    if name == "inline":
        from gradlaw.launch.inline import InlineLauncher

        return InlineLauncher()
    if name == "ray":
        from gradlaw.launch.ray_tune import RayLauncher

        return RayLauncher(address=address, gpus=1.0 if device.startswith("cuda") else 0.0)
    raise UnknownNameError(name, kind="launcher", known=LAUNCHERS)
