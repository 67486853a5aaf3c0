"""What a person sees while a run goes on: trials done, rate, time left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gradlaw.running.tally import RunProgress
from gradlaw.text import shown

PLAIN_EVERY_S = 10.0


def describe_rate(progress: RunProgress) -> str:
    """Trial-steps (or, where nothing is trained, trials) a second, and the time left; "" at the start."""
    if not progress.share_done or progress.elapsed_s <= 0:
        return ""
    done, unit = progress.steps_done, "trial-steps"
    if not progress.steps_planned:
        done, unit = progress.trials_done, "trials"
    rate = done / progress.elapsed_s
    left = progress.elapsed_s * (1 - progress.share_done) / progress.share_done
    minutes, seconds = divmod(round(left), 60)
    return f"{rate:,.{0 if rate >= 10 else 1}f} {unit}/s, {minutes}:{seconds:02d} left"


class ProgressDisplay:
    """A bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("trials"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("trials", total=None, rate="starting")
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        self._console.print(shown(line), markup=False, soft_wrap=True)

    def show(self, progress: RunProgress) -> None:
        """Brings the bar, or the lines, up to date."""
        done = progress.trials_held + progress.trials_done
        rate = describe_rate(progress) or "starting"
        self._bar.update(self._task, completed=done, total=progress.trials_planned, rate=rate)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= PLAIN_EVERY_S:
            self._last_line = now
            self.say(f"{done}/{progress.trials_planned} trials, {rate}")
