"""Where packs run. Who needs ray is here and in ``gradlaw.submit``; training needs none of it.

- Launchers, by the contract of ``base``: ``inline`` in this process, ``ray_tune`` on Ray, which ``tuning``
  gives packs and ``trainable`` runs them. In both ``worker`` runs a pack and commits it; ``committing`` says
  what is committed. ``patience`` says what Ray waits for.
- What a pack is given: ``resources`` is what the cluster has and a pack asks for, ``room`` what the worker
  makes of its share; ``credentials`` of a bucket go to it with the orders.
- The cluster: ``cluster`` starts or joins one, ``reach`` asks first whether it can be joined, ``auth`` sees
  to its token, ``facts`` asks its nodes for the doctor; ``scratch`` is where its files lie for that time.
"""

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
