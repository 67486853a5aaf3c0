"""The command line. On stdout only what was asked for; everything else goes to stderr.

Exit codes: 0 done; 1 something failed, or a claim is refuted under ``--strict``; 2 wrong usage;
130 interrupted.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from gradlaw.errors import GradlawError, UsageError
from gradlaw.settings import parse_settings

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)
search_app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(search_app, name="search", help="What the searches of a study asked for.")
notes = Console(stderr=True, highlight=False)

DEFAULT_STORE = Path("results")
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the store.")]
StudiesArgument = Annotated[list[str] | None, typer.Argument(help="Studies; all that have a plan, if none.")]
PlanOption = Annotated[str | None, typer.Option("--plan", help="Id of a plan; the newest, if none.")]


@app.callback()
def gradlaw(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """From a claim about how networks learn to a verdict with an honest interval."""
    if version:
        typer.echo(metadata.version("gradlaw"))
        raise typer.Exit


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
    study: Annotated[
        str, typer.Argument(help="Name of a study, or the path of its folder, or of a sweep's file.yaml.")
    ],
    preset: Annotated[str | None, typer.Option(help="Which of its presets; demo, if none.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="k=v,... ; k=[v,w] is an axis.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds instead of the preset's.")] = None,
    store: StoreOption = DEFAULT_STORE,
    launcher: Annotated[str, typer.Option(help="inline or ray.")] = "ray",
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is a GPU.")] = "cpu",
    width: Annotated[int | None, typer.Option(help="Most trials in one batched program.")] = None,
    compile_: Annotated[
        Literal["auto", "always", "never"], typer.Option("--compile", help="Whether steps are compiled.")
    ] = "auto",
    explore: Annotated[bool, typer.Option(help="Seeds of a range apart; decides nothing.")] = False,
    retry_failed: Annotated[bool, typer.Option(help="Try again what failed for good.")] = False,
    time_limit_s: Annotated[float | None, typer.Option(help="Seconds a pack may take.")] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(help="Between checkpoints of a pack; inf: none.")
    ] = 5.0,
    dry_run: Annotated[bool, typer.Option(help="Show the plan and stop.")] = False,
) -> None:
    """Run what a preset of a study, or a sweep, still lacks in the store."""
    from gradlaw.dry_run import describe_plan
    from gradlaw.progress import ProgressDisplay
    from gradlaw.runner import RunOptions
    from gradlaw.runner import run as run_study

    overrides = parse_settings(set_ or [])
    options = RunOptions(
        launcher=launcher,
        address=address,
        device=device,
        width=width,
        compile=compile_,
        retry_failed=retry_failed,
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
    with ProgressDisplay(notes) as display:
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
    display.say(f"{summary.plan_id}: {states}; {summary.wall_s:.1f} s; store {summary.store}")
    if not summary.complete:
        raise typer.Exit(1)


@app.command()
def measure(
    study: Annotated[
        str, typer.Argument(help="Name of a study, or the path of its folder, or of a sweep's file.yaml.")
    ],
    preset: Annotated[str | None, typer.Option(help="Which of its presets; demo, if none.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="k=v,... ; probe.setting=v.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds instead of the preset's.")] = None,
    store: StoreOption = DEFAULT_STORE,
    explore: Annotated[bool, typer.Option(help="Seeds of a range apart; decides nothing.")] = False,
) -> None:
    """Run the table probes that a plan's trials lack on the weights kept of them; train nothing."""
    from gradlaw.remeasure import measure as measure_study

    settings = parse_settings(set_ or [])
    summary = measure_study(
        study, preset=preset, set=settings, seeds=seeds, store=store, explore=explore, say=_say
    )
    _say(
        f"{summary.plan_id}: {summary.trials_measured} measured, {summary.trials_held} measured before, "
        f"{len(summary.left)} left alone; {summary.wall_s:.1f} s; store {summary.store}"
    )
    if not summary.complete:
        raise typer.Exit(1)


def _say(line: str) -> None:
    notes.print(line, markup=False, soft_wrap=True)


@app.command()
def status(store: StoreOption = DEFAULT_STORE) -> None:
    """Packs and trials by state, rate, time left."""
    from gradlaw_analysis import open_store

    typer.echo(str(open_store(store).status()))


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT, EXPLAIN, DESCRIBE or PIVOT.")],
    store: StoreOption = DEFAULT_STORE,
    format_: Annotated[
        Literal["table", "csv", "json", "parquet", "markdown"], typer.Option("--format")
    ] = "table",
    out: Annotated[Path | None, typer.Option(help="File to write instead of stdout.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="See the trials of this plan alone.")] = None,
    time_limit_s: Annotated[float, typer.Option(help="Seconds the query may take.")] = 60.0,
) -> None:
    """Query the store, safely, while it fills."""
    from gradlaw_analysis import open_store

    open_store(store).write_sql(statement, file_format=format_, out=out, wall_s=time_limit_s, plan=plan)


@app.command()
def verdicts(
    studies: StudiesArgument = None,
    plan: PlanOption = None,
    store: StoreOption = DEFAULT_STORE,
    format_: Annotated[Literal["table", "json"], typer.Option("--format")] = "table",
    strict: Annotated[bool, typer.Option(help="Exit 1 if a claim is refuted.")] = False,
) -> None:
    """What the claims of a plan come to."""
    from gradlaw_analysis import open_store
    from gradlaw_analysis.report.terminal import write_verdicts

    found = open_store(store).verdicts(studies or None, plan=plan)
    write_verdicts(found, format_)
    if strict and any(verdict.verdict == "refuted" for verdict in found):
        raise typer.Exit(1)


@app.command()
def report(
    studies: StudiesArgument = None,
    plan: PlanOption = None,
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[Path, typer.Option(help="report.html, .md or .json")] = Path("report.html"),
) -> None:
    """One self-contained file: verdicts, figures, SQL, provenance."""
    from gradlaw_analysis import open_store

    open_store(store).report(studies or None, plan=plan, out=out)
    notes.print(f"wrote {out}", markup=False)


@app.command()
def compact(store: StoreOption = DEFAULT_STORE) -> None:
    """Merge the packs of a store into few large files."""
    from gradlaw.store.compaction import compact as merge
    from gradlaw.store.store import Store

    notes.print(str(merge(Store.open(store))), markup=False)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="cifar10.")],
    to: Annotated[Path | None, typer.Option(help="Folder for its files; where tasks look, if none.")] = None,
) -> None:
    """Fetch a data set to this machine, checksum and all."""
    from gradlaw.fetch import archive_of
    from gradlaw.fetch import fetch as fetch_archive

    folder, fetched = fetch_archive(archive_of(name), to)
    _say(f"{'fetched to' if fetched else 'already in'} {folder}")


@search_app.command("export")
def search_export(
    study: Annotated[str, typer.Argument(help="Name of a study, or the path of its folder.")],
    out: Annotated[Path, typer.Option(help="The journal's file; what it held is replaced.")],
    preset: Annotated[str | None, typer.Option(help="Which of its presets; demo, if none.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="As it was run with.")] = None,
    seeds: Annotated[int | None, typer.Option(help="As it was run with.")] = None,
    store: StoreOption = DEFAULT_STORE,
    explore: Annotated[bool, typer.Option(help="As it was run with.")] = False,
) -> None:
    """Write a plan's searches, as far as they are, as an Optuna journal: optuna-dashboard shows it."""
    from gradlaw.adaptive.export import export_journal
    from gradlaw.planned import plan_study
    from gradlaw.store.store import Store

    settings = parse_settings(set_ or [])
    planned = plan_study(study, preset=preset, overrides=settings, seeds=seeds, explore=explore)
    number = export_journal(planned, Store.open(store), out)
    _say(f"{planned.plan.plan_id}: {number} configurations in {out}")


def main() -> None:
    """Entry point: runs a command and turns what it raises into a message and an exit code."""
    try:
        app()
    except GradlawError as error:
        notes.print(f"error: {error}", markup=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    main()
