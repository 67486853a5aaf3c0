"""Runs as jobs of a Ray cluster, through Ray Jobs: sent, followed, attached to and stopped.

The job belongs to the cluster. Whoever follows it may go away; whoever comes back attaches.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gradlaw.errors import ClusterError, UsageError
from gradlaw.launch.auth import MODE, TOKEN, WITH_TOKEN, asked_mode, token_file
from gradlaw.submit.job import Job
from gradlaw.submit.wheel import build_wheels

os.environ[MODE] = asked_mode()  # read by ray when it is imported

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from gradlaw.launch.reach import WHERE_TOKENS_ARE

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Between attempts to follow again once a connection is lost; after the last one it is given up."""
SILENCE_S = 120.0
"""A log silent for so long is asked for again: a connection may be dead without either end knowing.

For so long any other answer is waited for.
"""
BEGIN_S = 30.0
"""A job that has written nothing is looked at so often, until it begins."""

Show = Callable[[str], None]

for _name in ("ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk"):
    logging.getLogger(_name).setLevel(logging.ERROR)  # what it has to say is said here, in a line


@dataclass(frozen=True)
class Sent:
    """A job on a cluster.

    Attributes:
        name: Its submission id.
        store: Where its results go, "" where it does not say.
        attached: Whether it was there before.
    """

    name: str
    store: str
    attached: bool


class _Client(JobSubmissionClient):
    """Ray's, which by itself waits for an answer without end."""

    def _do_request(self, *words: Any, **how: Any) -> requests.Response:
        answer: requests.Response = super()._do_request(*words, **{"timeout": SILENCE_S, **how})
        return answer


class Jobs:
    """The jobs of one cluster.

    Args:
        address: Of its dashboard, "http://HOST:8265"; None: what ``RAY_API_SERVER_ADDRESS`` says, else this
            machine's, where a tunnel may end.

    Raises:
        UsageError: The address is not one of http or https.
        ClusterError: The cluster cannot be reached, or refuses the token.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS
        scheme, host = _parts(self.address)
        self.in_the_open = scheme == "http" and host not in LOOPBACK
        if os.environ[MODE] == WITH_TOKEN and not os.environ.get(TOKEN) and not token_file().is_file():
            msg = f"no token for {self.address}: got no {token_file()}; {WHERE_TOKENS_ARE}"
            raise ClusterError(msg)
        os.environ["RAY_API_SERVER_ADDRESS"] = self.address  # Ray lets it win over any argument
        with self._errors():
            self._client = _Client(self.address)

    def submit(self, job: Job) -> Sent:
        """Sends a job, or finds the same one, which has not ended yet.

        Raises:
            UsageError: Its study is too large to go along.
            ClusterError: The cluster does not take it.
        """
        if found := self._same(job):
            return Sent(found, job.store, attached=True)
        name = job.name_at(datetime.now(UTC))
        with self._errors(), tempfile.TemporaryDirectory(prefix="gradlaw-submit-") as folder:
            wheels, staged = Path(folder, "wheels"), Path(folder, "study")
            wheels.mkdir()
            staged.mkdir()
            environment: dict[str, object] = {"py_modules": [str(item) for item in build_wheels(wheels)]}
            if shipped := job.stage(staged):
                environment["working_dir"] = str(shipped)
            try:
                self._client.submit_job(
                    entrypoint=job.entrypoint,
                    submission_id=name,
                    runtime_env=environment,
                    metadata=job.identity,
                )
            except ValueError as error:  # too large to be sent
                msg = f"{job.shipped}: {error}"
                raise UsageError(msg) from error
            except RuntimeError:
                if self._same(job) != name:  # else another one was as fast
                    raise
                return Sent(name, job.store, attached=True)
        return Sent(name, job.store, attached=False)

    def find(self, name: str) -> Sent:
        """A job by its name.

        Raises:
            ClusterError: There is none.
        """
        with self._errors():
            try:
                info = self._client.get_job_info(name)
            except RuntimeError as error:
                known = [item.submission_id for item in self._client.list_jobs() if item.submission_id]
                msg = f"job {name!r}: not on {self.address}; known: {', '.join(sorted(known)) or 'none'}"
                raise ClusterError(msg) from error
        return Sent(name, (info.metadata or {}).get("gradlaw_store", ""), attached=True)

    def status(self, name: str) -> JobStatus:
        """How a job is."""
        with self._errors():
            return self._client.get_job_status(name)

    def stop(self, name: str) -> bool:
        """Asks a job to end; whether it was running."""
        self.find(name)
        with self._errors():
            return bool(self._client.stop_job(name))

    def follow(self, name: str, show: Show) -> JobStatus:
        """Shows what a job writes until it ends; goes on after a lost connection, each letter shown once.

        Until the job begins, that is shown from time to time.

        Returns:
            Its final status.

        Raises:
            ClusterError: The connection is lost and does not come back. The job is left as it is.
        """
        log, pauses, began = _Log(show), iter(PAUSES_S), time.monotonic()
        while True:
            try:
                with self._errors():
                    asyncio.run(self._tail(name, log))
                    status = self._client.get_job_status(name)
                if status.is_terminal():
                    return status
                if status == JobStatus.PENDING:
                    show(_not_begun(name, time.monotonic() - began))
                pauses, pause = iter(PAUSES_S), PAUSES_S[0]
            except ClusterError:
                if (pause := next(pauses, 0.0)) == 0:
                    raise
            time.sleep(pause)

    async def _tail(self, name: str, log: _Log) -> None:
        """Follows the log until it ends, or is silent for so long that the connection may be dead."""
        import aiohttp  # comes with ray[default], which the client has asked for by now

        log.begin()
        lines = self._client.tail_job_logs(name)
        try:
            while True:
                async with asyncio.timeout(SILENCE_S if log.has_begun else BEGIN_S):
                    log.take(await anext(lines))
        except (StopAsyncIteration, TimeoutError):
            return
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error)) from error

    def _same(self, job: Job) -> str | None:
        """The newest job of the same plan and store that has not ended."""
        with self._errors():
            found = [
                (item.start_time or 0, item.submission_id)
                for item in self._client.list_jobs()
                if item.submission_id
                and not item.status.is_terminal()
                and job.identity.items() <= (item.metadata or {}).items()
            ]
        return max(found)[1] if found else None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What goes wrong between here and the cluster, in one line with its remedy."""
        try:
            yield
        except ClusterError:
            raise
        except AuthenticationError as error:
            cause = str(error).splitlines()[0]
            msg = f"{self.address} refuses: {cause}; {WHERE_TOKENS_ARE}"
            raise ClusterError(msg) from error
        except (ConnectionError, requests.RequestException) as error:
            msg = (
                f"{self.address}: no answer; is the cluster up, with ray[default] on its head, and does the "
                "address reach it? A head's port comes here by `ray dashboard cluster.yaml` or "
                "`ssh -L 8265:127.0.0.1:8265 HEAD`"
            )
            raise ClusterError(msg) from error
        except RuntimeError as error:
            msg = f"{self.address}: {error}"
            raise ClusterError(msg) from error


def _parts(address: str) -> tuple[str, str]:
    """Scheme and host of a dashboard's address; raises UsageError for any other, less what may be secret."""
    try:
        parts = urlsplit(address)
        meant = parts.port != 0 and not parts.username and not parts.password
    except ValueError:
        meant = False
    if meant and parts.scheme in {"http", "https"} and parts.hostname:
        return parts.scheme, parts.hostname
    got = re.sub(r"//.*@", "//", address)
    msg = f"--address: got {got!r}, allowed http://HOST:8265 or https://HOST, of the dashboard"
    raise UsageError(msg)


def _not_begun(name: str, waited_s: float) -> str:
    """What to say of a job of which there is no word yet."""
    return (
        f"{name}: has not begun for {waited_s:.0f} s: its head makes its environment and starts it; "
        "after 15 minutes Ray gives it up, where the head says nothing else\n"
    )


class _Log:
    """What is shown of a log that is told from its beginning at every connection."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._told = self._shown = 0

    @property
    def has_begun(self) -> bool:
        return self._shown > 0

    def begin(self) -> None:
        self._told = 0

    def take(self, text: str) -> None:
        if new := text[max(0, self._shown - self._told) :]:
            self._show(new)
        self._told += len(text)
        self._shown = max(self._shown, self._told)
