"""The credentials of a bucket on their way to the workers: with the orders, and by no way that is logged.

Ray Tune hands them on by itself, as part of a runtime environment, which Ray writes to its logs on every node
and shows on its dashboard. So it is kept from that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ray.tune.execution import class_cache

NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")

class_cache.ENV_VARS_TO_PROPAGATE.difference_update(NAMES)


def held_here() -> dict[str, str]:
    """What this process's environment holds."""
    return {name: os.environ[name] for name in NAMES if name in os.environ}


def take(credentials: Mapping[str, str]) -> None:
    """Makes them this process's own, all of them, unless its environment holds any: a node's own go first."""
    if not held_here():
        os.environ.update(credentials)
