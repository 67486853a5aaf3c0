"""A run as a job of a cluster: its words, what is shipped with it, and how it is known there."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gradlaw.errors import UsageError, all_faults
from gradlaw.planning.planned import plan_study
from gradlaw.running.options import RunOptions
from gradlaw.settings import parse_settings
from gradlaw.store.bucket import Address
from gradlaw.studies import SWEEPS

REMOTE = re.compile(r"(s3|gs)://.+")
LEFT_BEHIND = re.compile(r"__pycache__|\..*")
"""Names in a study's folder that stay here."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What ``gradlaw run`` is to do on a cluster.

    Attributes:
        study: As it is named there: a study's name, or "./" and the name of what is shipped.
        shipped: The study's folder or the sweep's file here; None: it comes with a distribution.
        options: Words after the study.
        store: Where the results go, spelt in one way.
        study_name: The study's own name.
        plan_id: Of what is to be run.
    """

    study: str
    shipped: Path | None
    options: tuple[str, ...]
    store: str
    study_name: str
    plan_id: str

    @property
    def words(self) -> tuple[str, ...]:
        """The command, on the cluster that it finds itself on; the store is named, whoever named it."""
        return ("python", "-m", "gradlaw.cli", "run", self.study, *self.arguments, "--address", "auto")

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words after the study, the store among them."""
        named = any(word.partition("=")[0] == "--store" for word in self.options)
        return self.options if named else (*self.options, "--store", self.store)

    def names(self, option: str) -> bool:
        """Whether an option is among the words."""
        return any(word.partition("=")[0] == option for word in self.options)

    @property
    def entrypoint(self) -> str:
        """The command as a shell reads it."""
        return shlex.join(self.words)

    @property
    def is_remote(self) -> bool:
        """Whether the store is a bucket, not a folder."""
        return REMOTE.fullmatch(self.store) is not None

    @property
    def identity(self) -> dict[str, str]:
        """By what two jobs are the same: the plan and the store."""
        return {"gradlaw_plan": self.plan_id, "gradlaw_store": self.store}

    def name_at(self, moment: datetime) -> str:
        """A name for the job, of letters, digits, "-" and "_".

        >>> job = Job(study="s", shipped=None, options=(), store="/x", study_name="s", plan_id="demo_1a")
        >>> job.name_at(datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC))
        'gradlaw-s-demo_1a-20310506-070809'
        """
        return re.sub(
            r"[^\w-]", "-", f"gradlaw-{self.study_name}-{self.plan_id}-{moment.astimezone(UTC):%Y%m%d-%H%M%S}"
        )

    def stage(self, folder: Path) -> Path | None:
        """Copies what is shipped into an empty folder, and gives that folder; None where nothing is.

        Raises:
            OSError: It cannot be copied.
        """
        for path, file in shipped_files(self):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        return folder if self.shipped else None


def shipped_files(job: Job) -> list[tuple[str, Path]]:
    """What goes along with a job: each file's path from the folder the job runs in, and its path here."""
    if job.shipped is None:
        return []
    if job.shipped.is_file():
        return [(job.shipped.name, job.shipped)]
    found = [
        (item.relative_to(job.shipped.parent), item) for item in job.shipped.rglob("*") if item.is_file()
    ]
    return sorted(
        (path.as_posix(), item)
        for path, item in found
        if not any(LEFT_BEHIND.fullmatch(part) for part in path.parts[1:])
    )


def make_job(study: str, options: Sequence[str], values: Mapping[str, Any]) -> Job:
    """A run as a job, planned here first, so that its faults show before anything is sent.

    Args:
        study: Name of a study, or the path of its folder or of a sweep's file.
        options: The words of ``gradlaw run`` after the study.
        values: What its parser made of them, by parameter.

    Raises:
        UsageError: What ``gradlaw run`` would refuse to plan, or what cannot be meant on a cluster.
    """
    store = values["store"]
    with all_faults([*_faults(values), *_options(values).faults()]):
        planned = plan_study(
            study,
            preset=values["preset"],
            overrides=parse_settings(values["set_"] or ()),
            seeds=values["seeds"],
            explore=values["explore"],
        )
    planned.check_claims()
    shipped = _shipped(study, planned.folder.path)
    return Job(
        study=f"./{shipped.name}" if shipped else study,
        shipped=shipped,
        options=tuple(options),
        store=str(Address.of(store) if REMOTE.fullmatch(store) else Path(store)),
        study_name=planned.folder.name,
        plan_id=planned.plan.plan_id,
    )


def _shipped(study: str, path: Path) -> Path | None:
    """What the cluster does not have by its wheels: a study given by its folder, or a sweep's file."""
    given = Path(study)
    by_path = given.suffix in SWEEPS or ((given / "study.py").is_file() and path == given.resolve())
    return given.resolve() if by_path else None


def _options(values: Mapping[str, Any]) -> RunOptions:
    """How it will be run, for its faults: the options that are named as they are typed, and the others."""
    alike = ("device", "cpus", "gpus", "memory_gb", "width", "time_limit_s")
    return RunOptions(
        launcher="ray",
        checkpoint_s=60.0 * values["checkpoint_minutes"],
        **{name: values[name] for name in alike},
    )


def _faults(values: Mapping[str, Any]) -> list[str]:
    faults = []
    store = values["store"]
    if REMOTE.fullmatch(store):
        try:
            Address.of(store)
        except UsageError as error:
            faults.append(str(error))
    elif not Path(store).is_absolute():
        faults.append(
            f"--store: got {store!r}, a folder of this machine; allowed s3://bucket/prefix, "
            "gs://bucket/prefix, or the absolute path of a folder that all nodes of the cluster share"
        )
    if values["launcher"] not in (None, "ray"):
        faults.append(f"--launcher: got {values['launcher']!r}, allowed on a cluster: ray")
    if values["shard"] is not None:
        faults.append(
            f"--shard: got {values['shard']!r} with submit, where the cluster divides the plan; allowed with "
            "gradlaw run; on Slurm shares are --slurm --no-ray --array N"
        )
    if values["dry_run"]:
        faults.append("--dry-run: got with submit, which sends a job; allowed with `gradlaw run`, here")
    return faults
