"""Commands that plan, run and measure."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gradlaw.cli.app import (
    DEFAULT_STORE,
    ExploreOption,
    PresetOption,
    SeedsOption,
    StoreOption,
    StudyArgument,
    app,
    notes,
    say,
)
from gradlaw.cli.once import Application
from gradlaw.settings import parse_settings

if TYPE_CHECKING:
    from gradlaw.running.stop import Stop

ENDING_S = 75.0
"""Seconds that packs have to keep checkpoints after SIGTERM: within the 120 that a batch script leaves."""

search_app = Application(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(search_app, name="search", help="What the searches of a study asked for.")


@app.command()
def studies() -> None:
    """What there is, with question and presets."""
    from gradlaw.studies import find_studies

    for name, folder in find_studies().items():
        typer.echo(f"{name}: {folder.study.question}")
        for preset, what in folder.study.presets.items():
            typer.echo(f"    {preset:<8}{what.doc}")


@app.command()
def run(
    study: StudyArgument,
    preset: PresetOption = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="k=v,... ; k=\\[v,w] is an axis.")] = None,
    seeds: SeedsOption = None,
    store: StoreOption = DEFAULT_STORE,
    launcher: Annotated[
        str | None, typer.Option(help="inline or ray; ray, but inline for a shard, if none.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: GPUs if there are any.")] = "auto",
    cpus: Annotated[int, typer.Option(help="CPUs, and torch's threads, of a pack.")] = 1,
    gpus: Annotated[
        float | None, typer.Option(help="Share of a GPU of a pack; 1, if none, where it trains on one.")
    ] = None,
    memory_gb: Annotated[
        float | None, typer.Option(help="GiB of memory a pack keeps to; an estimate is asked for, if none.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Most trials in one batched program.")] = None,
    compile_: Annotated[
        Literal["auto", "always", "never"], typer.Option("--compile", help="Whether steps are compiled.")
    ] = "auto",
    explore: ExploreOption = False,
    retry_failed: Annotated[
        bool, typer.Option(help="Try again what failed for good, or for lack of memory.")
    ] = False,
    shard: Annotated[str | None, typer.Option(help="i/n: the i-th of n shares of the plan alone.")] = None,
    time_limit_s: Annotated[float | None, typer.Option(help="Seconds a pack may take.")] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(help="Between checkpoints of a pack; inf: none.")
    ] = 5.0,
    dry_run: Annotated[bool, typer.Option(help="Show the plan and stop.")] = False,
) -> None:
    """Run what a preset of a study, or a sweep, still lacks in the store."""
    from gradlaw.planning.dry_run import describe_plan
    from gradlaw.planning.shard import Shard
    from gradlaw.running.options import RunOptions
    from gradlaw.running.progress import ProgressDisplay
    from gradlaw.running.runner import run as run_study

    overrides = parse_settings(set_ or [])
    options = RunOptions(
        launcher=launcher or ("inline" if shard else "ray"),
        address=address,
        device=device,
        cpus=cpus,
        gpus=gpus,
        memory_gb=memory_gb,
        width=width,
        compile=compile_,
        retry_failed=retry_failed,
        shard=Shard.parse(shard) if shard is not None else None,
        time_limit_s=time_limit_s,
        checkpoint_s=60.0 * checkpoint_minutes,
    )
    if dry_run:
        for line in describe_plan(
            study,
            preset=preset,
            set=overrides,
            seeds=seeds,
            store=store,
            explore=explore,
            options=options,
        ):
            typer.echo(line)
        return
    with ProgressDisplay(notes) as display, _ends_soon_at_sigterm(options.stop):
        try:
            summary = run_study(
                study,
                preset=preset,
                set=overrides,
                seeds=seeds,
                store=store,
                explore=explore,
                options=options,
                on_progress=display.show,
                say=display.say,
            )
        except KeyboardInterrupt:
            display.say("interrupted: what is committed is kept, and the next run goes on from there")
            raise typer.Exit(130) from None
    states = ", ".join(f"{count} {state}" for state, count in summary.states.items())
    states = states or "no trial has ended"
    display.say(f"{summary.plan_id}: {states}; {summary.wall_s:.1f} s; store {summary.store}")
    if options.stop.asked:
        raise typer.Exit(128 + signal.SIGTERM)
    if not summary.complete:
        raise typer.Exit(1)


@contextmanager
def _ends_soon_at_sigterm(stop: Stop) -> Iterator[None]:
    """In here SIGTERM tells the run to end; a second one, or too long an ending, is as an interrupt."""

    def end(number: int, frame: object) -> None:
        del number, frame
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask()
        alarm.start()

    alarm = threading.Timer(ENDING_S, os.kill, (os.getpid(), signal.SIGTERM))
    alarm.daemon = True
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        alarm.cancel()
        signal.signal(signal.SIGTERM, before)


@app.command()
def measure(
    study: StudyArgument,
    preset: PresetOption = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="k=v,... ; probe.setting=v.")] = None,
    seeds: SeedsOption = None,
    store: StoreOption = DEFAULT_STORE,
    explore: ExploreOption = False,
) -> None:
    """Run the table probes that a plan's trials lack on the weights kept of them; train nothing."""
    from gradlaw.running.remeasure import measure as measure_study

    settings = parse_settings(set_ or [])
    summary = measure_study(
        study, preset=preset, set=settings, seeds=seeds, store=store, explore=explore, say=say
    )
    say(
        f"{summary.plan_id}: {summary.trials_measured} measured, {summary.trials_held} measured before, "
        f"{len(summary.left)} left alone; {summary.wall_s:.1f} s; store {summary.store}"
    )
    if not summary.complete:
        raise typer.Exit(1)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="cifar10.")],
    to: Annotated[Path | None, typer.Option(help="Folder for its files; where tasks look, if none.")] = None,
) -> None:
    """Fetch a data set to this machine, checksum and all."""
    from gradlaw.fetch import archive_of
    from gradlaw.fetch import fetch as fetch_archive

    folder, fetched = fetch_archive(archive_of(name), to)
    say(f"{'fetched to' if fetched else 'already in'} {folder}")


@search_app.command("export")
def search_export(
    study: StudyArgument,
    out: Annotated[Path, typer.Option(help="The journal's file; what it held is replaced.")],
    preset: PresetOption = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="As it was run with.")] = None,
    seeds: SeedsOption = None,
    store: StoreOption = DEFAULT_STORE,
    explore: ExploreOption = False,
) -> None:
    """Write a plan's searches, as far as they are, as an Optuna journal: optuna-dashboard shows it."""
    from gradlaw.adaptive.export import export_journal
    from gradlaw.planning.planned import plan_study
    from gradlaw.store.store import Store

    settings = parse_settings(set_ or [])
    planned = plan_study(study, preset=preset, overrides=settings, seeds=seeds, explore=explore)
    number = export_journal(planned, Store.open(store), out)
    say(f"{planned.plan.plan_id}: {number} configurations in {out}")
