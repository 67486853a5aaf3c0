"""Commands that read a store, and the one that compacts it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gradlaw.cli.app import DEFAULT_STORE, StoreOption, app, say
from gradlaw.cli.once import Command
from gradlaw.text import printable

StudiesArgument = Annotated[list[str] | None, typer.Argument(help="Studies; all that have a plan, if none.")]
PlanOption = Annotated[str | None, typer.Option("--plan", help="Id of a plan; the newest, if none.")]


@app.command()
def status(store: StoreOption = DEFAULT_STORE) -> None:
    """Packs and trials by state, rate, time left."""
    from gradlaw_analysis import open_store

    typer.echo(printable(str(open_store(store).status())))


class SqlCommand(Command):
    """A command whose argument may begin as an SQL comment does, with two hyphens."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes for an argument what begins with ``--`` and has two lines, or a space before any ``=``."""
        end = args.index("--") if "--" in args else len(args)
        statements = [word for word in args[:end] if re.match(r"--(.*\n|[^=]*\s)", word)]
        options = [word for word in args[:end] if word not in statements]
        return super().parse_args(ctx, [*options, "--", *statements, *args[end + 1 :]])


@app.command(cls=SqlCommand)
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
    say(f"wrote {out}")


@app.command()
def compact(store: StoreOption = DEFAULT_STORE) -> None:
    """Merge the packs of a store into few large files."""
    from gradlaw.store.compaction import compact as merge
    from gradlaw.store.store import Store

    say(str(merge(Store.open(store))))
