"""The command line. On stdout only what was asked for; everything else goes to stderr.

Exit codes: 0 done; 1 something failed, or a claim is refuted under ``--strict``; 2 wrong usage;
130 interrupted.
"""

from __future__ import annotations

import sys
import traceback

from gradlaw.cli import checking, reading, running, submitting
from gradlaw.cli.app import app, say
from gradlaw.errors import GradlawError, UsageError

__all__ = ["app", "checking", "main", "reading", "running", "submitting"]


def main() -> None:
    """Entry point: runs a command and turns what it raises into a message and an exit code."""
    try:
        app()
    except GradlawError as error:
        say(f"error: {error}")
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except Exception:  # noqa: BLE001 - a task's own, too: shown whole, but for secrets
        say(traceback.format_exc())
        sys.exit(1)
