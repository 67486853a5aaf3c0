"""All claims of the study: about memory, and about the contest."""

from __future__ import annotations

from gradlaw_studies.lion_adamw.claims_contest import CONTEST_CLAIMS
from gradlaw_studies.lion_adamw.claims_memory import MEMORY_CLAIMS

CLAIMS = (*MEMORY_CLAIMS, *CONTEST_CLAIMS)
