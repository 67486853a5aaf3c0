"""A run as a KubeRay RayJob: a cluster that comes for the job and goes with it.

The manifest is plain data. The operator makes the token and hands it to every pod (``authOptions``), posts
the command to the head as it stands (``HTTPMode``: no second shell in between), and starts a new cluster if
the head dies, where the run goes on from what the store holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from gradlaw.errors import ConfigurationError, all_faults
from gradlaw.fingerprint import digest
from gradlaw.submit.job import Job, shipped_files

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
IMAGE = re.compile(r"[\w][\w.:/@-]*")
NAME_LENGTH = 47
"""Most letters of a RayJob's name: the operator appends its own to it."""
STUDY_FOLDER = "/gradlaw-study"
MOST_BYTES = 900_000
"""Of a study that goes along in a ConfigMap, which holds 1 MiB with all around it."""
RETRIES, KEPT_S, IDLE_S = 3, 600, 300
"""New clusters after a failure; seconds a finished job, and an idle worker, are kept."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What the manifest asks Kubernetes for.

    Attributes:
        image: With Python, Ray and gradlaw in it.
        secrets: Names of Secrets whose entries become environment variables: the store's credentials.
        namespace: None: that of whoever applies the manifest.
        max_workers: Most workers at once, >= 1; none are there before they are asked for.
        worker_gpus: GPUs a worker, >= 0.
        worker_cpus: CPUs a worker, >= 1.
        worker_memory_gb: Memory a worker, GiB, >= 1.
    """

    image: str
    secrets: tuple[str, ...] = ()
    namespace: str | None = None
    max_workers: int = 8
    worker_gpus: int = 1
    worker_cpus: int = 8
    worker_memory_gb: int = 32

    def faults(self) -> list[str]:
        """What is impossible, a line a fault."""
        faults = [
            f"--{name.replace('_', '-')}: got {value}, allowed >= {least}"
            for name, least in (
                ("max_workers", 1),
                ("worker_gpus", 0),
                ("worker_cpus", 1),
                ("worker_memory_gb", 1),
            )
            if (value := getattr(self, name)) < least
        ]
        if not IMAGE.fullmatch(self.image):
            faults.append(
                f"--image: got {self.image!r}, allowed an image's name, for example registry/gradlaw:1"
            )
        faults += [
            f"--secret: got {name!r}, allowed the name of a Secret: a-z, 0-9, - and ."
            for name in self.secrets
            if not SUBDOMAIN.fullmatch(name)
        ]
        if self.namespace is not None and not LABEL.fullmatch(self.namespace):
            faults.append(f"--namespace: got {self.namespace!r}, allowed a-z, 0-9 and -, at most 63 letters")
        return faults


def render_rayjob(job: Job, cluster: Cluster) -> str:
    """The manifest as YAML, for ``kubectl create -f``.

    Where workers have GPUs and the job does not say on what it trains, it trains on them: at its start no
    worker is there from which it could learn that they come.

    Raises:
        UsageError: Impossible settings, or a study too large to go along.
    """
    with all_faults(cluster.faults()) as faults:
        if not job.is_remote:
            faults.append(
                f"--store: got {job.store!r}, a folder of each pod; allowed s3://bucket/prefix, gs://bucket/prefix"
            )
        config = _config_map(job, cluster)
    if cluster.worker_gpus and not job.names("--device"):
        job = replace(job, options=(*job.options, "--device", "cuda"))
    documents = [_rayjob(job, cluster), *([config] if config else [])]
    return yaml.safe_dump_all(documents, sort_keys=False, width=1_000)


def object_name(job: Job) -> str:
    """A name that the same plan on the same store always has, so that applying twice does not run twice.

    >>> job = Job(study="s", shipped=None, options=(), store="s3://b", study_name="My_s", plan_id="demo_1a")
    >>> object_name(job)
    'gradlaw-my-s-demo-1a-7ded89'
    """
    place = digest(job.store, length=6)
    plan = re.sub(r"[^a-z0-9]+", "-", job.plan_id.lower()).strip("-")[-24:].strip("-")
    study = re.sub(r"[^a-z0-9]+", "-", job.study_name.lower()).strip("-")
    room = NAME_LENGTH - len(f"gradlaw--{plan}-{place}")
    return f"gradlaw-{study[:room].strip('-')}-{plan}-{place}"


def _rayjob(job: Job, cluster: Cluster) -> dict[str, Any]:
    command = f"cd {STUDY_FOLDER} && {job.entrypoint}" if job.shipped else job.entrypoint
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": _metadata(job, cluster),
        "spec": {
            "submissionMode": "HTTPMode",
            "entrypoint": command,
            "backoffLimit": RETRIES,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": KEPT_S,
            "rayClusterSpec": {
                "rayVersion": version("ray"),
                "authOptions": {"mode": "token"},
                "enableInTreeAutoscaling": True,
                "autoscalerOptions": {"version": "v2", "idleTimeoutSeconds": IDLE_S},
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0"},  # packs run on workers alone
                    "template": _pod(job, cluster, "ray-head", {"cpu": "2", "memory": "8Gi"}),
                },
                "workerGroupSpecs": [_workers(job, cluster)],
            },
        },
    }


def _workers(job: Job, cluster: Cluster) -> dict[str, Any]:
    resources = {"cpu": str(cluster.worker_cpus), "memory": f"{cluster.worker_memory_gb}Gi"}
    if cluster.worker_gpus:
        resources["nvidia.com/gpu"] = str(cluster.worker_gpus)
    return {
        "groupName": "gpu" if cluster.worker_gpus else "cpu",
        "replicas": 0,
        "minReplicas": 0,
        "maxReplicas": cluster.max_workers,
        "rayStartParams": {},
        "template": _pod(job, cluster, "ray-worker", resources),
    }


def _pod(job: Job, cluster: Cluster, name: str, resources: Mapping[str, str]) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": name,
        "image": cluster.image,
        "resources": {"limits": dict(resources), "requests": dict(resources)},
    }
    if cluster.secrets:
        container["envFrom"] = [{"secretRef": {"name": item}} for item in cluster.secrets]
    pod: dict[str, Any] = {"containers": [container]}
    if job.shipped:
        items = [{"key": key, "path": path} for key, (path, _) in _numbered(job).items()]
        container["volumeMounts"] = [{"name": "study", "mountPath": STUDY_FOLDER, "readOnly": True}]
        pod["volumes"] = [{"name": "study", "configMap": {"name": object_name(job), "items": items}}]
    return {"spec": pod}


def _config_map(job: Job, cluster: Cluster) -> dict[str, Any] | None:
    """The study's own files, where it is given by its folder or is a sweep."""
    if job.shipped is None:
        return None
    try:
        data = {key: file.read_text(encoding="utf-8") for key, (_, file) in _numbered(job).items()}
    except UnicodeDecodeError as error:
        msg = f"{job.shipped}: a file that is not text; put the study into the image, as a distribution"
        raise ConfigurationError([msg]) from error
    if (size := sum(len(text.encode()) for text in data.values())) > MOST_BYTES:
        msg = f"{job.shipped}: got {size} bytes, allowed {MOST_BYTES}; put the study into the image instead"
        raise ConfigurationError([msg])
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(job, cluster), "data": data}


def _numbered(job: Job) -> dict[str, tuple[str, Path]]:
    """Files that go along, by a key: their paths may hold what keys may not."""
    return {f"file{number}": item for number, item in enumerate(shipped_files(job))}


def _metadata(job: Job, cluster: Cluster) -> dict[str, Any]:
    named = {"name": object_name(job)}
    return named | ({"namespace": cluster.namespace} if cluster.namespace else {})
