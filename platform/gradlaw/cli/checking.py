"""The command that looks at machine, cluster and store before a run does."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Literal

import typer

from gradlaw.cli.app import DEFAULT_STORE, StoreOption, app, say
from gradlaw.text import printable


@app.command()
def doctor(
    store: StoreOption = DEFAULT_STORE,
    address: Annotated[
        str | None, typer.Option(help="Of a running Ray cluster, HOST:PORT or auto; one is started, if none.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Name of a check; all, if none.")] = None,
    nodes: Annotated[int, typer.Option(help="Nodes that the cluster should have.")] = 1,
    wait_s: Annotated[float, typer.Option(help="Seconds to wait for them.")] = 0.0,
    format_: Annotated[Literal["text", "json"], typer.Option("--format")] = "text",
) -> None:
    """Look at Python, Ray, GPUs, compilers, token, store and clocks; exit code 1 if a run would fail."""
    from gradlaw.doctor.examine import examine
    from gradlaw.doctor.finding import Subject

    subject = Subject(store=store, address=address, nodes=nodes, wait_s=wait_s)
    found = []
    for line in examine(subject, only or (), say=say):
        found.append(line)
        if format_ == "text":
            typer.echo(printable(f"{line.level:<5}{line.check:<17}{line.found}"))
            if line.remedy:
                typer.echo(printable(f"{'':<22}-> {line.remedy}"))
            sys.stdout.flush()
    if format_ == "json":
        typer.echo(json.dumps([line._asdict() for line in found], indent=1))
    if any(line.level == "fail" for line in found):
        raise typer.Exit(1)
