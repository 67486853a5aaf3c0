"""A run as a batch job of Slurm: the script, and its sending."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2

from gradlaw.errors import ClusterError, UsageError, all_faults
from gradlaw.launch.auth import TOKEN, is_shut, make_token, token_file
from gradlaw.submit.job import Job

STOP_S = 120
"""Seconds before the time limit at which the run is told to end: packs keep checkpoints in that time."""
WAIT_S = 300
"""Seconds that all nodes have to join."""
LEAST_S = 5 * 60
TIMES = re.compile(r"(?:(\d+)-)?(\d+(?::\d+){0,2})", re.ASCII)
NAMES = re.compile(r"[\w.,@+-]+")
INTERFACES = re.compile(r"[\w.-]{1,15}")
FOLDERS = re.compile(r"[^\x00-\x1f\"'%\\]+")
DIRECTIVES = re.compile(r"--([a-z][a-z-]*)(=[^\s\"'\\`$#]+)?")
OWN_DIRECTIVES = re.compile(
    "job-name|nodes|ntasks|ntasks-per-node|cpus-per-task|gpus-per-node|time|partition|account|signal|output|"
    "open-mode|chdir|array|export|dependency|parsable|wrap"
)


@dataclass(frozen=True, kw_only=True)
class SlurmRequest:
    """What a batch job asks for.

    Attributes:
        job: The run.
        out: File of the script, which resubmits itself by this path.
        nodes: Nodes, >= 1; with shards each is a job of one.
        cpus_per_task: CPUs a node, >= 1.
        gpus_per_node: GPUs a node, >= 0.
        time: Time limit as Slurm has it: minutes, HH:MM:SS or D-HH:MM:SS; at least 5 minutes.
        partition: Its name; None: the site's default.
        account: Whom it is charged to; None: the user's default.
        setup: Lines of shell before all else, as "module load ...; source venv/bin/activate", after which
            ``python`` is the one to use; None: the Python of this process is.
        shards: Shares of the plan, each a job of an array without Ray; None: Ray over all nodes.
        interface: Network interface of the nodes that Ray uses; None: that by which they reach each other.
        directives: Further options of sbatch, for example "--mem=64G".
        resubmissions: How often the job is sent again at most, >= 0.
    """

    job: Job
    out: Path
    nodes: int = 1
    cpus_per_task: int = 4
    gpus_per_node: int = 0
    time: str = "04:00:00"
    partition: str | None = None
    account: str | None = None
    setup: str | None = None
    shards: int | None = None
    interface: str | None = None
    directives: tuple[str, ...] = ()
    resubmissions: int = 20

    def faults(self) -> Iterator[str]:
        """What is impossible, a line a fault."""
        least = {"nodes": 1, "cpus_per_task": 1, "gpus_per_node": 0, "resubmissions": 0}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                yield f"--{name.replace('_', '-')}: got {getattr(self, name)}, allowed >= {lowest}"
        if self.shards is not None:
            if self.job.names("--launcher"):
                yield "--launcher: got with --no-ray, which sets it for each job; leave it out"
            if self.job.names("--gpus"):
                yield "--gpus: got with --no-ray, whose packs have the GPU to themselves; allowed with Ray"
            if self.shards < 1:
                yield f"--array: got {self.shards}, allowed >= 1"
            if self.nodes != 1:
                yield f"--nodes: got {self.nodes} with --no-ray, allowed 1: each share is a job of one node"
        try:
            seconds(self.time)
        except UsageError as error:
            yield str(error)
        for name, value in (("partition", self.partition), ("account", self.account)):
            if value is not None and not NAMES.fullmatch(value):
                yield f"--{name}: got {value!r}, allowed letters, digits and . , @ + - _"
        if self.interface is not None and not INTERFACES.fullmatch(self.interface):
            yield f"--interface: got {self.interface!r}, allowed the name of a network interface, as ib0"
        for directive in self.directives:
            found = DIRECTIVES.fullmatch(directive)
            if found is None:
                yield f"--sbatch: got {directive!r}, allowed one option of sbatch, as --mem=64G, no spaces"
            elif OWN_DIRECTIVES.fullmatch(found[1]):
                yield f"--sbatch: got {directive!r}, which the script sets itself"
        if any(ord(letter) < 32 for letter in str(self.out)):
            yield f"--out: got {str(self.out)!r}, allowed a path without control characters"
        for folder in dict.fromkeys([self.out.absolute().parent, Path.cwd()]):
            if not FOLDERS.fullmatch(str(folder)):
                yield f"folder {str(folder)!r}: allowed for Slurm no quotes, %, \\ or control characters"


def seconds(time: str) -> int:
    """A time limit of Slurm in seconds.

    >>> seconds("90"), seconds("01:30:00"), seconds("2-12"), seconds("10:30")
    (5400, 5400, 216000, 630)

    Raises:
        UsageError: It is none, or too short for a run to end in it.
    """
    found = TIMES.fullmatch(time)
    if found is None:
        msg = f"--time: got {time!r}, allowed minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS"
        raise UsageError(msg)
    parts = [int(part) for part in found[2].split(":")]
    if found[1] is None and len(parts) < 3:  # they begin with minutes, with days before them with hours
        parts = [0, *parts]
    hours, minutes, rest = [*parts, 0, 0][:3]
    total = int(found[1] or 0) * 86400 + hours * 3600 + minutes * 60 + rest
    if total < LEAST_S:
        msg = f"--time: got {time!r}, allowed at least {LEAST_S // 60} minutes: {STOP_S} s go to the ending"
        raise UsageError(msg)
    return total


def render_slurm(request: SlurmRequest) -> str:
    """The batch script.

    Raises:
        ConfigurationError: All faults of the request at once.
        UsageError: The token's file can be read by others.
    """
    with all_faults(request.faults()):
        token = None if request.shards else _token_path()
    shards = request.shards
    text = resources.files("gradlaw.submit").joinpath("templates", "slurm.sbatch").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - a shell script, in which every value is quoted
        comment_start_string="{##",  # a shell counts by ${#
    )
    job = request.job
    return environment.from_string(text).render(
        directives=list(_directives(request)),
        script=shlex.quote(str(request.out.absolute())),
        resubmissions=request.resubmissions,
        setup=request.setup or "",
        python="python" if request.setup else shlex.quote(sys.executable),
        token_path=shlex.quote(str(token)) if token else "",
        num_shards=shards,
        cpus='"${SLURM_CPUS_PER_TASK:-1}"',
        gpus=f" --num-gpus={request.gpus_per_node}",
        interface=shlex.quote(request.interface or ""),
        dependency='afterany:"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"'
        if shards
        else 'afterany:"$SLURM_JOB_ID"',
        again=' --array="$SLURM_ARRAY_TASK_ID"' if shards else "",
        wait_s=WAIT_S,
        words=shlex.join([str(job.shipped or job.study), *job.arguments]),
    )


def _directives(request: SlurmRequest) -> Iterator[str]:
    name = re.sub(r"[^\w.-]", "-", f"gradlaw-{request.job.study_name}")
    log = request.out.absolute().parent / ("%x-%A_%a.log" if request.shards else "%x-%j.log")
    yield f"--job-name={name}"
    yield f"--nodes={request.nodes}"
    yield "--ntasks-per-node=1"
    yield f"--cpus-per-task={request.cpus_per_task}"
    if request.gpus_per_node:
        yield f"--gpus-per-node={request.gpus_per_node}"
    yield f"--time={request.time}"
    yield f"--signal=B:USR1@{STOP_S}"
    if request.shards:
        yield f"--array=1-{request.shards}"
    else:
        yield "--no-kill"  # a node that fails is Ray's to bear: its packs run elsewhere
    if request.partition:
        yield f"--partition={request.partition}"
    if request.account:
        yield f"--account={request.account}"
    yield f"--chdir={_directive_path(Path.cwd())}"
    yield f"--output={_directive_path(log)}"
    yield "--open-mode=append"
    yield "--requeue"
    yield from request.directives


def _directive_path(path: Path) -> str:
    """A path as Slurm reads it in a directive: spaces by quotes."""
    text = str(path)
    return f'"{text}"' if " " in text else text


def _token_path() -> Path:
    """Ray's token on the file system that nodes share, made if it is not there; a script only names it.

    Raises:
        UsageError: It is empty or others can read it.
    """
    file = token_file()
    try:
        make_token(file)
        mode = stat.S_IMODE(file.stat().st_mode)
        empty = not file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"Ray's token: got {file} ({error}), allowed a file that can be read; write a token there"
        raise UsageError(msg) from error
    if empty or (mode & 0o077 and not is_shut(file.parent)):
        got = "an empty one" if empty else f"one of mode {mode:03o}"
        remedy = f"rm {file}" if empty else f"chmod 600 {file}"
        msg = f"Ray's token in {file}: got {got}, allowed one of mode 600 with a token; run: {remedy}"
        raise UsageError(msg)
    return file.absolute()


def send_slurm(script: Path) -> str:
    """Hands a script to sbatch; the job's id.

    Raises:
        ClusterError: There is no sbatch here, or it refuses.
    """
    environment = {name: value for name, value in os.environ.items() if name != TOKEN}  # Slurm writes it down
    try:
        told = subprocess.run(
            ["sbatch", "--parsable", str(script)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        msg = f"sbatch: {error}; send it where Slurm is: sbatch {script}"
        raise ClusterError(msg) from error
    if told.returncode != 0:
        msg = (
            f"sbatch refuses {script}: {' '.join(told.stderr.split())}; mend what it names and send it again"
        )
        raise ClusterError(msg)
    return told.stdout.strip().partition(";")[0]
