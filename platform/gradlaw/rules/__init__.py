"""Rules that ship with the platform, one a file, and their registry."""

from __future__ import annotations

from gradlaw.rule import Rule
from gradlaw.rules.adam import Adam, AdamW
from gradlaw.rules.sgd import SGD

RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (SGD, Adam, AdamW)}
