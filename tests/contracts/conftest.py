from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "fixtures" / "studies"))


@pytest.fixture(scope="module", params=["inline", pytest.param("ray", marks=pytest.mark.slow)])
def launcher(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of each launcher; Ray is started once for all tests of a module."""
    if request.param == "inline":
        yield "inline"
        return
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield "ray"
    ray.shutdown()
