"""The command line. On stdout only what was asked for; everything else goes to stderr.

Exit codes: 0 done; 1 something failed, or a claim is refuted under ``--strict``; 2 wrong usage;
130 interrupted.
"""

from __future__ import annotations

import sys

from gradlaw.cli import checking, reading, running, submitting
from gradlaw.cli.app import app, notes
from gradlaw.errors import GradlawError, UsageError

__all__ = ["app", "checking", "main", "reading", "running", "submitting"]


def main() -> None:
    """Entry point: runs a command and turns what it raises into a message and an exit code."""
    try:
        app()
    except GradlawError as error:
        notes.print(f"error: {error}", markup=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
