"""The command that sends runs to a cluster."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradlaw.cli.app import app, say
from gradlaw.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from gradlaw.submit.job import Job
    from gradlaw.submit.jobs import Jobs, Sent
    from gradlaw.submit.slurm import SlurmRequest

BATCH = (
    "send nodes cpus_per_task gpus_per_node time partition account setup no_ray array interface sbatch "
    "resubmissions"
)
POD = "image secret namespace max_workers worker_gpus worker_cpus worker_memory_gb"
OPTIONS = {
    "--slurm": {"slurm", "out", *BATCH.split()},
    "--kuberay": {"kuberay", "out", *POD.split()},
    "--attach or --stop": {"attach", "stop", "address"},
    "Ray Jobs": {"follow", "address"},
}
"""What each way of sending takes, besides the study and what is run's."""


@app.command(context_settings={"ignore_unknown_options": True})
def submit(
    context: typer.Context,
    study: Annotated[
        str | None,
        typer.Argument(help="Name of a study, or the path of its folder, or of a sweep's file.yaml."),
    ] = None,
    options: Annotated[
        list[str] | None, typer.Argument(help="Options of `gradlaw run`, --store above all.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Of the cluster's dashboard: http://HOST:8265; this machine's, if none."),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Show what the job writes until it ends.")] = True,
    attach: Annotated[str | None, typer.Option(help="Follow a job that was sent before.")] = None,
    stop: Annotated[str | None, typer.Option(help="End a job that was sent before.")] = None,
    kuberay: Annotated[bool, typer.Option("--kuberay", help="Write a KubeRay RayJob instead.")] = False,
    out: Annotated[Path | None, typer.Option(help="File for what is written; stdout, if none.")] = None,
    image: Annotated[
        str | None, typer.Option(help="KubeRay: image with gradlaw; see docs/cluster.md.")
    ] = None,
    secret: Annotated[
        list[str] | None, typer.Option(help="KubeRay: Secret whose entries become environment variables.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="KubeRay: namespace.")] = None,
    max_workers: Annotated[int, typer.Option(help="KubeRay: most GPU workers.")] = 8,
    worker_gpus: Annotated[int, typer.Option(help="KubeRay: GPUs a worker; 0: a worker of CPUs.")] = 1,
    worker_cpus: Annotated[int, typer.Option(help="KubeRay: CPUs a worker.")] = 8,
    worker_memory_gb: Annotated[int, typer.Option(help="KubeRay: memory a worker, in GiB.")] = 32,
    slurm: Annotated[bool, typer.Option("--slurm", help="Write a batch script of Slurm instead.")] = False,
    send: Annotated[bool, typer.Option("--send", help="Slurm: hand the script to sbatch.")] = False,
    nodes: Annotated[int, typer.Option(help="Slurm: nodes.")] = 1,
    cpus_per_task: Annotated[int, typer.Option(help="Slurm: CPUs a node.")] = 4,
    gpus_per_node: Annotated[int, typer.Option(help="Slurm: GPUs a node.")] = 0,
    time: Annotated[str, typer.Option(help="Slurm: time limit, HH:MM:SS or D-HH:MM:SS.")] = "04:00:00",
    partition: Annotated[str | None, typer.Option(help="Slurm: partition.")] = None,
    account: Annotated[str | None, typer.Option(help="Slurm: account.")] = None,
    setup: Annotated[
        str | None,
        typer.Option(help="Slurm: shell before all else: module load ...; source venv/bin/activate"),
    ] = None,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="Slurm: an array of shares, without Ray.")] = False,
    array: Annotated[int | None, typer.Option(help="Slurm: number of shares, with --no-ray.")] = None,
    interface: Annotated[
        str | None, typer.Option(help="Slurm: network interface for Ray, as ib0; found, if none.")
    ] = None,
    sbatch: Annotated[list[str] | None, typer.Option(help="Slurm: one more option, as --mem=64G.")] = None,
    resubmissions: Annotated[int, typer.Option(help="Slurm: how often it is sent again at most.")] = 20,
) -> None:
    """Run a study on a cluster: a job that goes on when this machine is gone."""
    ways = {"--attach or --stop": attach or stop, "--kuberay": kuberay, "--slurm": slurm}
    _refuse_others(context, next((way for way, asked in ways.items() if asked), "Ray Jobs"))
    if attach or stop:
        _go_back(study, attach, stop, address)
        return
    job = _job(study, options or [])
    if kuberay:
        from gradlaw.submit.kuberay import Cluster, render_rayjob

        cluster = Cluster(
            image=image or "",
            secrets=tuple(secret or ()),
            namespace=namespace,
            max_workers=max_workers,
            worker_gpus=worker_gpus,
            worker_cpus=worker_cpus,
            worker_memory_gb=worker_memory_gb,
        )
        _write(render_rayjob(job, cluster), out)
        return
    if slurm:
        from gradlaw.submit.slurm import SlurmRequest

        _check_slurm(out, no_ray=no_ray, array=array)
        request = SlurmRequest(
            job=job,
            out=out or Path(),
            nodes=nodes,
            cpus_per_task=cpus_per_task,
            gpus_per_node=gpus_per_node,
            time=time,
            partition=partition,
            account=account,
            setup=setup,
            shards=array if no_ray else None,
            interface=interface,
            directives=tuple(sbatch or ()),
            resubmissions=resubmissions,
        )
        _batch(request, send=send)
        return
    _send(job, address, follow=follow)


def _refuse_others(context: typer.Context, way: str) -> None:
    """Options of another way of sending, which would be ignored."""
    given = [
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
        and name not in OPTIONS[way] | {"study", "options"}
    ]
    faults = []
    for name in given:
        option = "--no-follow" if name == "follow" else f"--{name.replace('_', '-')}"
        allowed = ", ".join(other for other, names in OPTIONS.items() if name in names)
        faults.append(f"{option}: got with {way}, allowed with {allowed}")
    if faults:
        raise ConfigurationError(faults)


def _check_slurm(out: Path | None, *, no_ray: bool, array: int | None) -> None:
    """What cannot be meant together."""
    faults = []
    if out is None:
        faults.append("--out: got none, allowed the file to write, which nodes see too: --out job.sbatch")
    if no_ray != (array is not None):
        got = "--no-ray alone" if no_ray else "--array alone"
        faults.append(f"got {got}, allowed both or neither: --no-ray --array N")
    if faults:
        raise ConfigurationError(faults)


def _batch(request: SlurmRequest, *, send: bool) -> None:
    """Writes a batch script, and sends it if that is asked for."""
    from gradlaw.submit.slurm import render_slurm, send_slurm

    _write(render_slurm(request), request.out)
    if send:
        say(f"sent: job {send_slurm(request.out)}; what it writes is beside {request.out}")
    else:
        say(f"send it where Slurm is: sbatch {request.out}")
    job = request.job
    study = shlex.quote(str(job.shipped or job.study))
    say(f"results: gradlaw status --store {job.store}; gradlaw verdicts {study} --store {job.store}")


def _job(study: str | None, options: Sequence[str]) -> Job:
    """Reads the options as ``gradlaw run`` does, and plans."""
    from typer.main import get_command

    from gradlaw.submit.job import make_job

    if study is None or study.startswith("-"):
        msg = f"STUDY: got {study or 'nothing'}; the study comes first: gradlaw submit STUDY --store s3://..."
        raise UsageError(msg)
    command: Any = get_command(app)
    context = command.commands["run"].make_context("gradlaw submit", [study, *options])
    return make_job(study, options, context.params)


def _send(job: Job, address: str | None, *, follow: bool) -> None:
    from gradlaw.submit.jobs import Jobs

    jobs = Jobs(address)
    if jobs.in_the_open:
        say(f"warning: the token goes to {jobs.address} in the open; https or a tunnel by ssh hides it")
    if not job.is_remote:
        say(f"the store {job.store} has to be a folder that all nodes of the cluster share")
    sent = jobs.submit(job)
    say(f"{'already there' if sent.attached else 'sent'}: {sent.name} on {jobs.address}")
    if follow:
        _follow(jobs, sent)
    else:
        say(f"follow it: {_again(jobs, sent)}")
        _say_results(sent)


def _go_back(study: str | None, attach: str | None, stop: str | None, address: str | None) -> None:
    if study or (attach and stop):
        got = [item for item in (study, attach and "--attach", stop and "--stop") if item]
        msg = f"got {' and '.join(got)}; allowed one of STUDY, --attach and --stop"
        raise ConfigurationError([msg])
    from gradlaw.submit.jobs import Jobs

    jobs = Jobs(address)
    if stop:
        ended = jobs.stop(stop)
        say(f"{stop}: {'asked to end; what it committed is kept' if ended else 'had ended before'}")
    elif attach:
        _follow(jobs, jobs.find(attach))


def _follow(jobs: Jobs, sent: Sent) -> None:
    """Shows the job's lines until it ends; exit code 0 if it succeeded, 1 if not, 130 if interrupted."""
    from gradlaw.errors import ClusterError

    try:
        status = jobs.follow(sent.name, _show)
    except KeyboardInterrupt:
        say(f"no longer followed, and the job goes on; follow it again: {_again(jobs, sent)}")
        raise typer.Exit(130) from None
    except ClusterError as error:
        say(f"out of sight: {error}")
        say(f"the job goes on as long as its cluster does; follow it again: {_again(jobs, sent)}")
        raise typer.Exit(1) from None
    say(f"{sent.name}: {status.value.lower()}")
    _say_results(sent)
    if status != "SUCCEEDED":
        raise typer.Exit(1)


def _show(text: str) -> None:
    """What the job wrote, to stderr, as it is."""
    sys.stderr.write(text)
    sys.stderr.flush()


def _again(jobs: Jobs, sent: Sent) -> str:
    return f"gradlaw submit --attach {sent.name} --address {jobs.address}"


def _say_results(sent: Sent) -> None:
    if sent.store:
        say(f"results: gradlaw status --store {sent.store}; gradlaw verdicts --store {sent.store}")


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"--out: got {str(out)!r} ({error.strerror}), allowed a file in a folder that is there"
        raise UsageError(msg) from error
    say(f"wrote {out}")
