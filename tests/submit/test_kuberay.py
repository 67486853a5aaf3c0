"""The RayJob: its fields against the documented ones, its names, its command, its faults."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from held import STUDIES
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gradlaw.cli import app
from gradlaw.errors import ConfigurationError
from gradlaw.submit.job import Job
from gradlaw.submit.kuberay import Cluster, object_name, render_rayjob

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
JOB = Job(
    study="sqrt_b",
    shipped=None,
    options=("--set", "lr=[0.1, 0.2]"),
    store="s3://bucket/prefix",
    study_name="sqrt_b",
    plan_id="demo_0123456789",
)
CLUSTER = Cluster(image="registry.example/lab/gradlaw:0.1.0", secrets=("bucket-keys",), namespace="lab")

# Fields of ray.io/v1 as KubeRay's API reference (v1.6) lists them, and of the Kubernetes objects within.
FIELDS = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "metadata": {"name", "namespace"},
    "spec": {
        "submissionMode",
        "entrypoint",
        "backoffLimit",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
        "rayClusterSpec",
    },
    "spec.rayClusterSpec": {
        "rayVersion",
        "authOptions",
        "enableInTreeAutoscaling",
        "autoscalerOptions",
        "headGroupSpec",
        "workerGroupSpecs",
    },
    "spec.rayClusterSpec.authOptions": {"mode"},
    "spec.rayClusterSpec.autoscalerOptions": {"version", "idleTimeoutSeconds"},
    "spec.rayClusterSpec.headGroupSpec": {"rayStartParams", "template"},
    "spec.rayClusterSpec.workerGroupSpecs.0": {
        "groupName",
        "replicas",
        "minReplicas",
        "maxReplicas",
        "rayStartParams",
        "template",
    },
}


def at(document: Any, path: str) -> Any:
    for part in path.split(".") if path else []:
        document = document[int(part) if part.isdecimal() else part]
    return document


def test_every_field_is_a_documented_one_and_the_token_is_on() -> None:
    (rayjob,) = yaml.safe_load_all(render_rayjob(JOB, CLUSTER))

    for path, allowed in FIELDS.items():
        assert set(at(rayjob, path)) <= allowed, path
    assert (rayjob["apiVersion"], rayjob["kind"]) == ("ray.io/v1", "RayJob")
    assert rayjob["spec"]["submissionMode"] == "HTTPMode"
    cluster = rayjob["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == version("ray")
    (workers,) = cluster["workerGroupSpecs"]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (0, CLUSTER.max_workers)
    for template in (cluster["headGroupSpec"]["template"], workers["template"]):
        (container,) = template["spec"]["containers"]
        assert container["image"] == CLUSTER.image
        assert container["envFrom"] == [{"secretRef": {"name": "bucket-keys"}}]
        assert "env" not in container, "no value stands here, so no secret does"
        assert container["resources"]["limits"] == container["resources"]["requests"]
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_what_workers_have_is_what_packs_train_on_unless_they_say() -> None:
    for options, device in (((), "cuda"), (("--device", "cpu"), "cpu"), (("--device=auto",), "auto")):
        (rayjob,) = yaml.safe_load_all(render_rayjob(replace(JOB, options=options), CLUSTER))
        assert re.findall(r"--device[ =](\w+)", rayjob["spec"]["entrypoint"]) == [device]


def test_workers_without_a_gpu_ask_for_none() -> None:
    (rayjob,) = yaml.safe_load_all(render_rayjob(JOB, replace(CLUSTER, worker_gpus=0)))

    (workers,) = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert "--device" not in rayjob["spec"]["entrypoint"]
    assert workers["groupName"] == "cpu"
    assert set(workers["template"]["spec"]["containers"][0]["resources"]["limits"]) == {"cpu", "memory"}


@settings(max_examples=25)
@given(
    words=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12), max_size=4)
)
def test_any_words_survive_yaml_and_the_shell_of_the_head(words: list[str]) -> None:
    job = replace(JOB, options=tuple(words))
    (rayjob,) = yaml.safe_load_all(render_rayjob(job, CLUSTER))

    printing = rayjob["spec"]["entrypoint"].replace("python -m gradlaw.cli", 'printf "%s\\0"', 1)
    shown = subprocess.run(["sh", "-c", printing], capture_output=True, check=True).stdout

    told = replace(job, options=(*words, "--device", "cuda")) if not job.names("--device") else job
    assert tuple(shown.decode().split("\0")[:-1]) == told.words[3:]


@given(study=st.text(min_size=1, max_size=80), plan=st.text(max_size=80), store=st.text(max_size=80))
def test_names_are_those_kubernetes_takes(study: str, plan: str, store: str) -> None:
    name = object_name(replace(JOB, study_name=study, plan_id=plan + "_0123456789", store=store))

    assert DNS_LABEL.fullmatch(name), name
    assert len(name) <= 47
    assert re.search("-0123456789-[0-9a-f]{6}$", name), "which plan it is stays in the name"


def test_a_name_is_of_one_plan_on_one_store(tmp_path: Path) -> None:
    out = tmp_path / "rayjob.yaml"
    names = []
    for store in ("s3://bucket/a", "s3://bucket/a/", "s3://bucket/b"):
        words = ["--store", store, "--kuberay", "--image", "registry/gradlaw:1", "--out", str(out)]
        assert CliRunner().invoke(app, ["submit", str(STUDIES / "tiny"), *words]).exit_code == 0
        names += [document["metadata"]["name"] for document in yaml.safe_load_all(out.read_text())]

    first, again, other = names[:2], names[2:4], names[4:]
    assert len(set(first)) == 1, "the job and what goes along"
    assert first == again
    assert first != other
    assert re.fullmatch(r"gradlaw-tiny-demo-[0-9a-f]{10}-[0-9a-f]{6}", first[0])


def test_all_faults_at_once() -> None:
    wrong = Cluster(
        image="a b",
        secrets=("ok.secret", "No"),
        namespace="Lab",
        max_workers=0,
        worker_gpus=-1,
        worker_cpus=0,
        worker_memory_gb=0,
    )

    with pytest.raises(ConfigurationError) as caught:
        render_rayjob(replace(JOB, store="/shared"), wrong)

    assert {fault.partition(":")[0] for fault in caught.value.faults} == {
        "--image",
        "--secret",
        "--namespace",
        "--max-workers",
        "--worker-gpus",
        "--worker-cpus",
        "--worker-memory-gb",
        "--store",
    }


def test_a_study_given_by_its_folder_goes_along_in_a_config_map(tmp_path: Path) -> None:
    out = tmp_path / "rayjob.yaml"
    words = [
        "--seeds",
        "2",
        "--store",
        "s3://bucket/p",
        "--kuberay",
        "--image",
        "registry/gradlaw:1",
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(app, ["submit", str(STUDIES / "tiny"), *words])
    assert result.exit_code == 0, result.output

    rayjob, config = yaml.safe_load_all(out.read_text())

    assert (config["kind"], config["metadata"]["name"]) == ("ConfigMap", rayjob["metadata"]["name"])
    command = rayjob["spec"]["entrypoint"]
    for group in (
        rayjob["spec"]["rayClusterSpec"]["headGroupSpec"],
        rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"][0],
    ):
        pod = group["template"]["spec"]
        (volume,), (mount,) = pod["volumes"], pod["containers"][0]["volumeMounts"]
        files = {item["path"]: config["data"][item["key"]] for item in volume["configMap"]["items"]}
        assert files["tiny/study.py"] == (STUDIES / "tiny" / "study.py").read_text()
        assert command.startswith(f"cd {mount['mountPath']} && python -m gradlaw.cli run ./tiny ")
        assert volume["name"] == mount["name"]


def test_a_study_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    job = replace(JOB, study="./large", shipped=folder)
    (folder / "study.py").write_text("#" * 1_000_000)
    with pytest.raises(ConfigurationError, match="allowed 900000"):
        render_rayjob(job, CLUSTER)

    (folder / "study.py").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not text"):
        render_rayjob(job, CLUSTER)
