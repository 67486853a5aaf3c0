"""A store opened for questions: SQL, plans, status, verdicts, reports."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd

from gradlaw import provenance
from gradlaw.claim import Claim
from gradlaw.claim_lock import lock_digest
from gradlaw.errors import StoreError, UnknownNameError
from gradlaw.plan_kind import PlanKind
from gradlaw.store.compaction import Compaction
from gradlaw.store.compaction import compact as compact_store
from gradlaw.store.leases import Leases
from gradlaw.store.plans import PlanRecord
from gradlaw.store.store import Store
from gradlaw.studies import Claimless, StudyFolder, find_studies, find_study
from gradlaw_analysis.catalog import Catalog
from gradlaw_analysis.decide import is_exploratory
from gradlaw_analysis.declared import claim_changes, claim_documents
from gradlaw_analysis.judge import judge
from gradlaw_analysis.plan_data import PlanData
from gradlaw_analysis.record import record_verdicts
from gradlaw_analysis.sql import Limits, Parameter, iter_sql, run_sql
from gradlaw_analysis.sql.formats import write_result
from gradlaw_analysis.status import Status, other_workers, plan_status
from gradlaw_analysis.verdict import Verdict

logger = logging.getLogger("gradlaw")

Studies = Sequence[str | Path]
_MOST_NAMED = 5
NO_CLAIMS = lock_digest([])
"""What the plan of a sweep holds: there is nothing to decide, and no folder to read."""


class OpenStore:
    """One store. Each call looks at the store anew.

    Attributes:
        store: The store itself.
    """

    def __init__(self, path: str | Path) -> None:
        self.store = Store.open(path)
        self._named: set[str] = set()

    def sql(
        self,
        statement: str,
        parameters: Mapping[str, Parameter] | None = None,
        limits: Limits | None = None,
        *,
        plan: str | None = None,
    ) -> pd.DataFrame:
        """The rows of one reading statement, run where it can harm nothing.

        Args:
            statement: SQL with ``$name`` parameters.
            parameters: Their values.
            limits: On time, memory and rows; None: the defaults.
            plan: Show the trials of this plan alone.

        Raises:
            QueryError: If the statement is refused, fails or passes a limit.
            UnknownNameError: If there is no such plan.
        """
        sources = self._catalog().sources(plan)
        frame: pd.DataFrame = run_sql(statement, sources, limits, parameters).to_pandas()
        return frame

    def write_sql(
        self,
        statement: str,
        *,
        file_format: str = "table",
        out: Path | None = None,
        wall_s: float = 60.0,
        plan: str | None = None,
    ) -> int:
        """Writes the rows of a statement to a file or to standard output; returns how many there were.

        Args:
            statement: SQL.
            file_format: "table", "csv", "json", "parquet" or "markdown".
            out: File to write; None: standard output.
            wall_s: Seconds it may take.
            plan: Show the trials of this plan alone.
        """
        sources = self._catalog().sources(plan)
        schema, batches = iter_sql(statement, sources, Limits(wall_s=wall_s))
        return write_result(schema, batches, file_format=file_format, out=out)

    def plans(self) -> pd.DataFrame:
        """One row a plan, oldest first."""
        rows = [
            {**vars(record), "num_trials": len(self.store.plan(record.plan_id)[1])}
            for record in self._catalog().plans
        ]
        return pd.DataFrame(rows)

    def status(self) -> Status:
        """How far the newest plan of each study is."""
        catalog = self._catalog()
        newest = {record.study: record for record in catalog.plans}
        leases, now = Leases(self.store.files).live(), provenance.utc_now()
        found = []
        with closing(catalog.connection()) as connection:
            for _, record in sorted(newest.items()):
                data = PlanData(connection, catalog, record)
                found.append(plan_status(connection, data, self.store.files, now, leases))
        others = other_workers(leases, [plan.plan for plan in found], now)
        return Status(plans=tuple(found), set_aside=len(catalog.set_aside), others=others)

    def verdicts(
        self, studies: Studies | None = None, plan: str | None = None, *, record: bool = True
    ) -> list[Verdict]:
        """The verdicts of studies, each on one plan.

        Args:
            studies: Names or folders; None: all that have a plan here (or the study of ``plan``).
            plan: Id of a plan; None: the newest that decides, or the newest of all.
            record: Whether to add these evaluations to the store, as what is shown must be: looks count.

        Raises:
            UnknownNameError: If there is no such study or plan, or the plan is another study's.
        """
        catalog = self._catalog()
        found: list[Verdict] = []
        for folder, data in self._chosen(catalog, studies, plan):
            found += self._judged(folder, data, record=record)
        return found

    def report(
        self,
        studies: Studies | None = None,
        out: str | Path = "report.html",
        *,
        plan: str | None = None,
        record: bool = True,
    ) -> Path:
        """Writes a report that stands alone; its suffix says the format: .html, .md or .json.

        Args: as of :meth:`verdicts`; ``out``: the file.

        Raises:
            UnknownNameError: As :meth:`verdicts`, and for an unknown suffix.
            StoreError: If the file cannot be written.
        """
        # Only reports draw, and drawing is slow to import.
        from gradlaw_analysis.report.content import report_content, study_content
        from gradlaw_analysis.report.write import format_of, write_content

        path = Path(out)
        format_of(path)
        catalog = self._catalog()
        contents = []
        for folder, data in self._chosen(catalog, studies, plan):
            verdicts = self._judged(folder, data, record=record)
            locks = self.store.locks(folder.name)
            has_data = data.num_ended > 0
            changes = claim_changes(claim_documents(folder), locks, has_data=has_data)
            contents.append(study_content(folder, data, verdicts, changes))
        set_aside = [(item.path, item.reason) for item in catalog.set_aside]
        write_content(report_content(self.store.path, contents, set_aside), path)
        return path

    def compact(self) -> Compaction:
        """Merges the packs of the store into few large files; its answers stay the same."""
        return compact_store(self.store)

    def _catalog(self) -> Catalog:
        """The store as it stands; what had to be set aside is named, each file once."""
        catalog = Catalog(self.store)
        news = [item for item in catalog.set_aside if item.path not in self._named]
        self._named.update(item.path for item in news)
        for item in news[:_MOST_NAMED]:
            logger.warning("set aside: %s: %s", item.path, item.reason)
        if len(news) > _MOST_NAMED:
            logger.warning("set aside: %d more files; the report names them", len(news) - _MOST_NAMED)
        return catalog

    def _judged(self, folder: StudyFolder, data: PlanData, *, record: bool) -> tuple[Verdict, ...]:
        verdicts = judge(folder, data, self.store.locks(folder.name))
        if record:
            try:
                record_verdicts(self.store, folder, verdicts)
            except StoreError as error:
                logger.warning("these evaluations are shown but not recorded: %s", error)
        return verdicts

    def _chosen(
        self, catalog: Catalog, studies: Studies | None, plan: str | None
    ) -> Iterator[tuple[StudyFolder, PlanData]]:
        for folder in self._folders(catalog, studies, plan):
            record = choose_plan(catalog.plans, folder.name, plan, folder.claims)
            with closing(catalog.connection(record.plan_id)) as connection:
                yield folder, PlanData(connection, catalog, record)

    def _folders(self, catalog: Catalog, studies: Studies | None, plan: str | None) -> Iterator[StudyFolder]:
        if studies is not None:
            yield from map(find_study, studies)
            return
        if plan is not None and plan not in {record.plan_id for record in catalog.plans}:
            raise UnknownNameError(plan, kind="plan", known=[record.plan_id for record in catalog.plans])
        asked = [record for record in catalog.plans if plan in (None, record.plan_id)]
        known = find_studies()  # installed ones: a name in a store is no reason to run code of some folder
        for name in sorted({record.study for record in asked}):
            if name in known:
                yield known[name]
            elif all(record.claims_digest == NO_CLAIMS for record in asked if record.study == name):
                yield Claimless(Path(name))
            else:
                error = UnknownNameError(name, kind="study", known=known)
                logger.warning("left out: %s; name its folder instead", error)


def open_store(path: str | Path = "results") -> OpenStore:
    """Opens a store for questions.

    Raises:
        StoreError: If there is none, it cannot be read, or it is of another schema version.
    """
    return OpenStore(path)


def choose_plan(
    plans: Sequence[PlanRecord], study: str, plan: str | None = None, claims: Sequence[Claim] = ()
) -> PlanRecord:
    """The plan that a study's claims are decided on.

    Args:
        plans: All plans, oldest first.
        study: The study.
        plan: Id of the one wanted; None: the newest that decides, or the newest of all. A plan decides if
            its number of seeds is a look that a claim declared.
        claims: The study's.

    Raises:
        UnknownNameError: If the study has no plan, or none of this id.
    """
    own = [record for record in plans if record.study == study]
    if not own:
        known = {record.study for record in plans}
        raise UnknownNameError(study, kind="study with a plan in this store", known=known)
    if plan is not None:
        named = [record for record in own if record.plan_id == plan]
        if not named:
            known = {record.plan_id for record in own}
            raise UnknownNameError(plan, kind=f"plan of study {study}", known=known)
        return named[0]
    confirming = [record for record in own if record.kind == PlanKind.CONFIRM]
    deciding = [record for record in confirming if _is_look(record, claims)]
    chosen = (deciding or confirming or own)[-1]
    if deciding and chosen is not confirming[-1]:
        newest = confirming[-1]
        logger.warning(
            "plan %s is newer, but its %d seeds are no declared look: shown is %s; name the other by --plan",
            newest.plan_id,
            newest.num_seeds,
            chosen.plan_id,
        )
    return chosen


def _is_look(plan: PlanRecord, claims: Sequence[Claim]) -> bool:
    return not claims or any(
        not is_exploratory(claim, plan.num_seeds, plan.declared_seeds) for claim in claims
    )
