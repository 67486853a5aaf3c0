"""Launchers: where packs run. Only these modules import ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlaw.errors import UnknownNameError

if TYPE_CHECKING:  # the modules beside this one are imported without torch
    from gradlaw.launch.base import Launcher

LAUNCHERS = ("inline", "ray")


def make_launcher(name: str, *, address: str | None = None) -> Launcher:
    """A launcher by name.

    Args:
        name: "inline" or "ray".
        address: Of a running Ray cluster; None starts one on this machine. Only for "ray".

    Raises:
        UnknownNameError: No such launcher.
    """
    if name == "inline":
        from gradlaw.launch.inline import InlineLauncher

        return InlineLauncher()
    if name == "ray":
        from gradlaw.launch.ray_tune import RayLauncher

        return RayLauncher(address=address)
    raise UnknownNameError(name, kind="launcher", known=LAUNCHERS)
