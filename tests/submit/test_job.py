"""What a job is, before a cluster sees it: its words, what goes along, what is refused."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from held import STUDIES
from typer.main import get_command
from typer.testing import CliRunner

from gradlaw.cli import app
from gradlaw.cli.submitting import OPTIONS
from gradlaw.errors import ClusterError, ConfigurationError, UsageError
from gradlaw.provenance import git_commit
from gradlaw.submit.job import Job, make_job
from gradlaw.submit.wheel import build_wheels

ROOT = Path(__file__).parents[2]
VALUES = {
    "store": "s3://bucket/prefix",
    "launcher": "ray",
    "dry_run": False,
    "set_": None,
    "preset": None,
    "seeds": 2,
    "explore": False,
    "shard": None,
    "device": "auto",
    "cpus": 1,
    "gpus": None,
    "memory_gb": None,
    "width": None,
    "time_limit_s": None,
    "checkpoint_minutes": 5.0,
}
TINY = str(STUDIES / "tiny")


def job(study: str = TINY, *options: str, **values: object) -> Job:
    return make_job(study, options, {**VALUES, **values})


def test_the_words_reach_the_other_side_as_they_are() -> None:
    odd = ["--set", "lr=[0.1, 0.2]", "it's", 'a "b"', "$HOME `id` ; & | \\ *", "\n"]
    sent = job(TINY, *odd)

    shown = subprocess.run(
        ["sh", "-c", sent.entrypoint.replace("python -m gradlaw.cli", 'printf "%s\\0"', 1)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert tuple(shown.stdout.split("\0")[:-1]) == sent.words[3:]
    assert sent.words[3:5] == ("run", "./tiny")
    assert tuple(shlex.split(sent.entrypoint)) == sent.words


def test_the_store_is_named_once() -> None:
    assert job().words[-4:] == ("--store", "s3://bucket/prefix", "--address", "auto")
    for given in (["--store", "s3://bucket/prefix"], ["--store=s3://bucket/prefix"]):
        text = " ".join(job(TINY, *given).words)
        assert text.count("s3://bucket/prefix") == 1


def test_a_study_given_by_its_folder_goes_along_without_what_was_made_of_it(tmp_path: Path) -> None:
    study = tmp_path / "here" / "tiny"
    for name in ("problem.py", "study.py"):
        (study / "below").mkdir(parents=True, exist_ok=True)
        (study / name).write_text((STUDIES / "tiny" / name).read_text())
    (study / "below" / "data.csv").write_text("1")
    for left in ("__pycache__/study.pyc", ".git/HEAD", "below/.hidden"):
        (study / left).parent.mkdir(exist_ok=True)
        (study / left).write_text("x")
    sent = Job(study="./tiny", shipped=study, options=(), store="", study_name="tiny", plan_id="p")
    (tmp_path / "there").mkdir()

    folder = sent.stage(tmp_path / "there")

    assert folder == tmp_path / "there"
    found = {item.relative_to(folder).as_posix() for item in folder.rglob("*") if item.is_file()}
    assert found == {"tiny/problem.py", "tiny/study.py", "tiny/below/data.csv"}


def test_a_sweep_goes_along_and_a_study_by_name_does_not(tmp_path: Path) -> None:
    sweep = ROOT / "examples" / "batch_size_lr.yaml"

    sent = job(str(sweep))

    assert sent.study == f"./{sweep.name}"
    assert sent.stage(tmp_path) == tmp_path
    assert (tmp_path / sweep.name).read_bytes() == sweep.read_bytes()
    assert job("sqrt_b", preset="smoke", seeds=None).shipped is None
    assert job("sqrt_b", preset="smoke", seeds=None).stage(tmp_path) is None


def test_the_same_plan_is_the_same_job_and_another_is_not() -> None:
    assert job().identity == job().identity
    assert job(store="s3://bucket/prefix/").identity == job().identity, "one store, spelt in two ways"
    for other in (job(seeds=3), job(store="s3://bucket/other"), job(set_=["steps=10"])):
        assert other.identity != job().identity


def test_all_that_cannot_be_meant_on_a_cluster_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        job(store="results", launcher="inline", dry_run=True, width=0, device="cuda", cpus=0)

    named = [fault.partition(":")[0] for fault in caught.value.faults]
    assert named == ["--store", "--launcher", "--dry-run", "width", "cpus"], "cuda is for nodes to have"
    for store in ("results", "./results", "~/results", "s3://", "http://bucket/prefix"):
        with pytest.raises(ConfigurationError, match="all nodes of the cluster share"):
            job(store=store)
    for store in ("/shared/results", "gs://bucket/prefix"):
        assert job(store=store).store == store


@pytest.mark.parametrize("way", [["--address", "http://127.0.0.1:9"], ["--kuberay", "--image", "i"]])
def test_a_share_of_a_plan_is_refused_before_the_cluster_is_asked(way: list[str]) -> None:
    for words in (["--shard", "1/2"], ["--shard=1/2"]):
        result = CliRunner().invoke(app, ["submit", TINY, "--store", "s3://bucket/p", *words, *way])
        assert isinstance(result.exception, ConfigurationError), "not that nobody answers there"
        assert "--shard: got '1/2' with submit" in str(result.exception)


def test_what_run_would_refuse_is_refused_before_anything_is_sent() -> None:
    for words, cause in (
        (["sqrt_b", "--sedes", "3"], "--sedes"),
        (["sqrt_b", "--seeds", "three"], "--seeds"),
        (["sqrt_b", "--compile", "maybe"], "maybe"),
    ):
        result = CliRunner().invoke(app, ["submit", *words, "--store", "/shared"])
        assert result.exit_code == 2, result.output
        assert cause in re.sub(r"\x1b\[[0-9;]*m", "", result.output)
    for words, cause in (
        (["sqrt_c", "--store", "/shared"], "did you mean 'sqrt_b'"),
        (["sqrt_b", "--preset", "dmeo", "--store", "/shared"], "unknown preset"),
        (["sqrt_b", "--set", "nonsense=1", "--store", "/shared"], "nonsense"),
        (["--seeds", "3", "sqrt_b", "--store", "/shared"], "the study comes first"),
        (["sqrt_b", "--attach", "x"], "allowed one of"),
        (["--attach", "x", "--stop", "y"], "allowed one of"),
    ):
        caught = CliRunner().invoke(app, ["submit", *words]).exception
        assert isinstance(caught, UsageError)
        assert cause in str(caught)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ["--nodes", "4", "--send"],
            ["--nodes: got with Ray Jobs, allowed with --slurm", "--send: got with"],
        ),
        (["--kuberay", "--slurm"], ["--slurm: got with --kuberay, allowed with --slurm"]),
        (
            ["--kuberay", "--time", "4:00:00", "--no-follow"],
            ["--time: got with --kuberay", "--no-follow: got"],
        ),
        (["--slurm", "--image", "x"], ["--image: got with --slurm, allowed with --kuberay"]),
        (["--out", "x"], ["--out: got with Ray Jobs, allowed with --slurm, --kuberay"]),
    ],
)
def test_options_of_another_way_are_refused_not_ignored(words: list[str], named: list[str]) -> None:
    caught = CliRunner().invoke(app, ["submit", TINY, "--store", "s3://bucket/p", *words]).exception

    assert isinstance(caught, ConfigurationError)
    assert len(caught.faults) == len(named)
    for fault, beginning in zip(caught.faults, named, strict=True):
        assert fault.startswith(beginning)


def test_every_option_belongs_to_a_way() -> None:
    command: Any = get_command(app)
    names = {parameter.name for parameter in command.commands["submit"].params}

    assert names == {"study", "options"}.union(*OPTIONS.values())


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "none" / "x.yaml"):
        words = ["--store", "s3://bucket/p", "--kuberay", "--image", "x", "--out", str(out)]
        caught = CliRunner().invoke(app, ["submit", TINY, *words]).exception
        assert isinstance(caught, UsageError)
        assert f"--out: got {str(out)!r}" in str(caught)


def test_a_store_whose_address_holds_secrets_goes_nowhere() -> None:
    for store in ("s3://key:hush@bucket/p", "s3://bucket/p?secret_key=hush"):
        with pytest.raises(ConfigurationError, match="belong into the environment") as caught:
            job(store=store)
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1:8265", "ray://head:10001", "http://", "http://u:secret@head:1"),
        *("http://[::1", "http://head:99999", "http://u:secret@[::1"),
    ],
)
def test_an_address_that_cannot_be_meant(address: str) -> None:
    caught = CliRunner().invoke(app, ["submit", "--attach", "x", "--address", address]).exception

    assert isinstance(caught, UsageError)
    assert "http://HOST:8265" in str(caught)
    assert "secret" not in str(caught)


def test_who_takes_calls_and_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a tunnel whose other end is gone."""
    from gradlaw.submit import jobs

    monkeypatch.setattr(jobs, "SILENCE_S", 0.2)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")  # it is set, and after the test it is as before
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(ClusterError, match=f"http://127.0.0.1:{port}: no answer; is the cluster up"):
            jobs.Jobs(f"http://127.0.0.1:{port}")


def test_without_a_token_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "missing"))

    caught = CliRunner().invoke(app, ["submit", "--attach", "x", "--address", "http://127.0.0.1:9"]).exception

    assert isinstance(caught, ClusterError)
    assert f"got no {tmp_path / 'missing'}" in str(caught)


def test_a_wheel_holds_the_packages_and_asks_for_nothing(tmp_path: Path) -> None:
    wheel = build_wheels(tmp_path)[0]
    words = ["git", "ls-files", "platform", "studies", "analysis"]
    tracked = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    archive = zipfile.ZipFile(wheel)
    held = set(archive.namelist())

    assert {name.partition("/")[2] for name in tracked if (ROOT / name).exists()} <= held
    assert not [name for name in held if "__pycache__" in name]
    (info,) = {name.partition("/")[0] for name in held if ".dist-info/" in name}
    metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
    assert metadata.get_all("Requires-Dist") is None
    assert metadata["Requires-Python"] == ">=3.11"
    assert wheel.name == f"gradlaw-{metadata['Version']}-py3-none-any.whl"
    assert archive.read(f"{info}/COMMIT").decode() == git_commit()
    assert b"gradlaw_studies" in archive.read(f"{info}/entry_points.txt")
    archive.close()


STUDY_OF_ANOTHER = """
import sys
from pathlib import Path
from gradlaw.submit.wheel import build_wheels
print("\\n".join(item.name for item in build_wheels(Path(sys.argv[1]))))
"""


def test_equal_content_is_one_wheel_and_studies_of_others_come_along(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "lab_studies").mkdir(parents=True)
    module = site / "lab_studies" / "__init__.py"
    module.write_text("A = 1\n")
    (site / "lab_common.py").write_text("B = 1\n")
    info = site / "lab_studies-2.0.dist-info"
    info.mkdir()
    (info / "top_level.txt").write_text("lab_common\nlab_studies\nnot_there\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-studies\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[gradlaw.studies]\nlab = lab_studies\n")

    def built(number: int) -> list[str]:
        folder = tmp_path / f"wheels{number}"
        folder.mkdir()
        code = f"import sys; sys.path.insert(0, {str(site)!r})\n{STUDY_OF_ANOTHER}"
        words = [sys.executable, "-c", code, str(folder)]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()

    first, again = built(1), built(2)
    module.write_text("A = 2\n")
    changed = built(3)

    assert first == again
    assert (tmp_path / "wheels1" / first[1]).read_bytes() == (tmp_path / "wheels2" / again[1]).read_bytes()
    assert re.fullmatch(r"lab_studies-2\.0\+[0-9a-f]{12}-py3-none-any\.whl", first[1])
    with zipfile.ZipFile(tmp_path / "wheels1" / first[1]) as archive:
        assert {"lab_studies/__init__.py", "lab_common.py"} <= set(archive.namelist())
    assert changed[0] == first[0]
    assert changed[1] != first[1]
