"""What a study's SQL asks for by name: the files its claims have, and the parameters of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from gradlaw.claim import Claim, Control, Gate, Scalar
from gradlaw.errors import UnknownNameError
from gradlaw.studies import StudyFolder

# A comment, a string or a quoted name, in which nothing is replaced; or a $name.
TOKEN = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w+)", re.DOTALL)


def parameter_fault(statement: str, parameters: Mapping[str, Scalar], name: str) -> str | None:
    """What keeps a statement from being bound: parameters that are not those declared with values; or None.

    Args:
        statement: Text of a SQL file.
        parameters: The values declared.
        name: What to call it.

    >>> parameter_fault("SELECT $a, '$b' -- $c", {"a": 0.5}, "x.sql")
    >>> parameter_fault("SELECT $a", {}, "x.sql")
    'x.sql: its parameters are a; declared with values are none; they must be the same'
    """
    asked = {match[1] for match in TOKEN.finditer(statement) if match[1]}
    if asked == set(parameters):
        return None
    return (
        f"{name}: its parameters are {', '.join(sorted(asked)) or 'none'}; "
        f"declared with values are {', '.join(sorted(parameters)) or 'none'}; they must be the same"
    )


def sql_faults(folder: StudyFolder) -> list[str]:
    """What the SQL of a study's claims lacks that shows without data, a line a fault: files, parameters."""
    faults = []
    for claim in folder.claims:
        for whose, part in _parts(claim):
            try:
                fault = parameter_fault(folder.sql(part.sql), part.parameters, part.sql)
            except UnknownNameError as error:
                fault = str(error)
            faults += [f"{whose}: {fault}"] if fault else []
    return faults


def _parts(claim: Claim) -> Iterator[tuple[str, Claim | Control | Gate]]:
    yield claim.name, claim
    if claim.gate:
        yield f"{claim.name}: gate", claim.gate
    for control in claim.controls:
        yield f"{claim.name}: control {control.name}", control
