"""cluster.yaml, as it is and with another section uncommented as its comments say, read by Ray itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.constants import AUTOSCALER_UTILIZATION_SCORER_KEY
from ray.autoscaler._private.node_provider_availability_tracker import NodeProviderAvailabilityTracker
from ray.autoscaler._private.resource_demand_scheduler import (
    ResourceDemandScheduler,
    _default_utilization_scorer,
    get_nodes_for,
)
from ray.autoscaler._private.util import prepare_config, validate_config, with_envs
from ray.autoscaler.node_launch_exception import NodeLaunchException

from gradlaw.spot_first import score

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "cluster.yaml").read_text()
GPU = {"CPU": 1, "GPU": 1}


def variant(name: str) -> str:
    """The file for a site: the section of AWS deleted, that of the site without its leading "# "."""
    kept = []
    inside = ""
    for line in TEXT.splitlines():
        if match := re.fullmatch(r"# (>>>|<<<) (\w+)", line):
            inside = match[2] if match[1] == ">>>" else ""
        elif name == "aws" or inside not in ("aws", name):
            kept.append(line)
        elif inside == name:
            assert re.match(r"# |#$", line), line
            kept.append(line[2:])
    return "\n".join(kept)


def loaded(name: str) -> dict[str, Any]:
    given = yaml.safe_load(variant(name))
    prepared: dict[str, Any] = prepare_config(given)
    validate_config(prepared)
    assert prepared["provider"]["type"] == name
    return prepared


@pytest.mark.parametrize("name", ["aws", "gcp", "local"])
def test_ray_takes_it_and_asks_for_a_token_everywhere(name: str) -> None:
    config = loaded(name)

    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [line for line in config[key] if "ray start" in line]
        assert starts, key
        assert all("RAY_AUTH_MODE=token" in line for line in starts)
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"] == {"/home/ray/.ray/auth_token": "~/.ray/auth_token"}
    (head,) = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in yaml.safe_dump(config)
    assert not [line for key in config if key.endswith("setup_commands") for line in config[key]]


def test_nothing_of_ray_s_schema_is_refused_silently() -> None:
    given = yaml.safe_load(variant("aws"))
    given["idle_timeout"] = 5

    with pytest.raises(Exception, match="idle_timeout"):
        validate_config(prepare_config(given))


def test_workers_are_gpus_on_spot_and_on_demand_and_the_head_runs_no_pack() -> None:
    types = loaded("aws")["available_node_types"]

    spot = {name for name, item in types.items() if "InstanceMarketOptions" in item["node_config"]}
    with_gpu = {name for name, item in types.items() if item["resources"].get("GPU")}
    assert spot == {"gpu_spot"}
    assert with_gpu == {"gpu_spot", "gpu_on_demand"}
    assert types["head"]["resources"]["CPU"] == 0
    assert types["gpu_spot"]["resources"] == types["gpu_on_demand"]["resources"]
    assert all(types[name]["min_workers"] == 0 for name in types)


def launched(
    number: int, *, existing: dict[str, int] | None = None, refused: str = "", ours: bool = True
) -> Any:
    """What Ray would launch for so many packs of a GPU each, after a launch that the cloud refused."""
    config = loaded("aws")
    tracker = NodeProviderAvailabilityTracker(timer=lambda: 0.0, ttl=1800)
    if refused:
        cause = NodeLaunchException("InsufficientInstanceCapacity", "none to give", None)
        tracker.update_node_availability(refused, 0, cause)
    scorer = score if ours else _default_utilization_scorer

    def scored(*words: Any) -> Any:
        return scorer(*words, node_availability_summary=tracker.summary())

    nodes, _ = get_nodes_for(
        config["available_node_types"],
        {"head": 1, **(existing or {})},
        "head",
        config["max_workers"],
        [GPU] * number,
        utilization_scorer=scored,
    )
    return dict(nodes)


def test_spot_comes_first_and_on_demand_while_there_is_none() -> None:
    assert launched(3) == {"gpu_spot": 3}
    assert launched(3, refused="gpu_spot") == {"gpu_on_demand": 3}
    assert launched(3, refused="gpu_on_demand") == {"gpu_spot": 3}
    assert launched(3, existing={"gpu_spot": 7}) == {"gpu_spot": 1, "gpu_on_demand": 2}


def test_ray_alone_would_ask_for_the_refused_type_again() -> None:
    assert launched(3, refused="gpu_spot", ours=False) == {"gpu_spot": 3}


def test_the_head_s_command_names_the_scorer_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    config = loaded("aws")
    (head,) = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    named = dict(re.findall(r"(RAY_\w+)=(\S+)", head))
    assert named["RAY_enable_autoscaler_v2"] == "0"
    monkeypatch.setenv(AUTOSCALER_UTILIZATION_SCORER_KEY, named[AUTOSCALER_UTILIZATION_SCORER_KEY])

    scheduler = ResourceDemandScheduler(None, config["available_node_types"], 8, "head", 1.0)

    assert scheduler.utilization_scorer is score


@pytest.mark.parametrize("name", ["aws", "gcp", "local"])
def test_the_older_autoscaler_starts_though_ray_up_asks_for_the_newer(name: str, tmp_path: Path) -> None:
    (tmp_path / "ray").write_text('#!/bin/sh\nenv | grep ^RAY_; echo "$@"\n')
    (tmp_path / "ray").chmod(0o755)
    asked = {"RAY_enable_autoscaler_v2": "1", "RAY_NODE_TYPE_NAME": "head"}
    commands = with_envs(loaded(name)["head_start_ray_commands"], asked)

    said = subprocess.run(
        ["bash", "-c", commands[-1].replace("ulimit -n 65536;", "")],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    assert set(said[:-1]) == {
        "RAY_AUTH_MODE=token",
        "RAY_enable_autoscaler_v2=0",
        f"{AUTOSCALER_UTILIZATION_SCORER_KEY}=gradlaw.spot_first.score",
        "RAY_NODE_TYPE_NAME=head",
    }
    assert said[-1].startswith("start --head --port=6379 ")
    assert said[-1].endswith("/ray_bootstrap_config.yaml")


def test_the_image_has_the_ray_that_is_pinned() -> None:
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    (image,) = re.findall(r"^ARG RAY=(.+)$", dockerfile, re.MULTILINE)
    (pinned,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)

    assert image == pinned
    assert "gradlaw[cluster,s3]" in dockerfile
