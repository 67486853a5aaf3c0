"""gradlaw: from a claim about how networks learn to a verdict with an honest interval.

>>> import gradlaw
>>> "sqrt_b" in gradlaw.find_studies()
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradlaw.claim import Claim
    from gradlaw.figure import Figure
    from gradlaw.hyperparameter import Hyperparameter
    from gradlaw.measurement import Measurement
    from gradlaw.probe import MetricProbe, TableProbe
    from gradlaw.rule import ElementwiseRule, Rule
    from gradlaw.running.remeasure import MeasureSummary, measure
    from gradlaw.running.runner import RunSummary, run
    from gradlaw.running.tally import RunProgress
    from gradlaw.schedules import Schedule
    from gradlaw.studies import find_studies, find_study
    from gradlaw.study import Grid, Preset, Study
    from gradlaw.table import Column, Table
    from gradlaw.task import Task

_HOMES = {
    "Claim": "claim",
    "Column": "table",
    "ElementwiseRule": "rule",
    "Figure": "figure",
    "Grid": "study",
    "Hyperparameter": "hyperparameter",
    "MeasureSummary": "running.remeasure",
    "Measurement": "measurement",
    "MetricProbe": "probe",
    "Preset": "study",
    "Rule": "rule",
    "RunProgress": "running.tally",
    "RunSummary": "running.runner",
    "Schedule": "schedules",
    "Study": "study",
    "Table": "table",
    "TableProbe": "probe",
    "Task": "task",
    "find_studies": "studies",
    "find_study": "studies",
    "measure": "running.remeasure",
    "run": "running.runner",
}

__all__ = [
    "Claim",
    "Column",
    "ElementwiseRule",
    "Figure",
    "Grid",
    "Hyperparameter",
    "MeasureSummary",
    "Measurement",
    "MetricProbe",
    "Preset",
    "Rule",
    "RunProgress",
    "RunSummary",
    "Schedule",
    "Study",
    "Table",
    "TableProbe",
    "Task",
    "find_studies",
    "find_study",
    "measure",
    "run",
]


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used, so that analysis does not pay for torch."""
    if name in _HOMES:
        value: object = getattr(import_module(f"gradlaw.{_HOMES[name]}"), name)
        return value
    msg = f"module 'gradlaw' has no attribute {name!r}"
    raise AttributeError(msg)
