"""SQL that anyone may write, run where it can harm nothing."""

from __future__ import annotations

from gradlaw_analysis.sql.request import Limits, Parameter, Query, ViewSource
from gradlaw_analysis.sql.run import iter_sql, run_sql

__all__ = ["Limits", "Parameter", "Query", "ViewSource", "iter_sql", "run_sql"]
