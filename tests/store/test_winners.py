"""One winner a trial, against the stated order written a second time, as SQL."""

from __future__ import annotations

import json
from types import ModuleType

import duckdb
import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from gradlaw.errors import StoreError
from gradlaw.store.named import check_index
from gradlaw.store.store import Store
from gradlaw.store.winners import INDEX_SCHEMA, TrialIndex, winners
from gradlaw.trial import RETRIABLE, State

ORDER = """
SELECT trial_id, pack_id, attempt FROM index_rows LEFT JOIN needed USING (trial_id)
QUALIFY row_number() OVER (PARTITION BY trial_id ORDER BY
    CASE WHEN state IN ('done', 'reached_target', 'diverged', 'stopped') THEN 0
         WHEN state IN ('skipped', 'out_of_memory') THEN 1 WHEN state = 'failed' THEN 2 ELSE 3 END,
    len(list_intersect(CAST(probes AS JSON)::VARCHAR[], coalesce(asked, []))) DESC,
    json_array_length(probes) DESC, attempt, pack_id, study) = 1
ORDER BY ALL
"""

probe_sets = st.sets(st.sampled_from(["a@1", "b@1", "c@1"]))
rows = st.tuples(
    st.sampled_from(["t0", "t1", "t2"]),
    st.sampled_from(["p", "q", "r"]),
    st.integers(0, 3),
    st.sampled_from(["s", "u"]),
    st.sampled_from(list(State)),
    probe_sets,
)
# (trial, pack, attempt) is unique in a store: an attempt's number is reserved.
indices = st.lists(rows, unique_by=lambda row: row[:3], max_size=12)
needs = st.dictionaries(st.sampled_from(["t0", "t1"]), probe_sets)


def table(listed: list[tuple[str, str, int, str, State, set[str]]]) -> pa.Table:
    columns = [
        *([row[place] for row in listed] for place in range(4)),
        [row[4].value for row in listed],
        [json.dumps(sorted(row[5])) for row in listed],
        *([[""] * len(listed)] * 2),
    ]
    return pa.table(dict(zip(INDEX_SCHEMA.names, columns, strict=True)), schema=INDEX_SCHEMA)


def winning(index: pa.Table, needed: dict[str, set[str]]) -> list[tuple[str, str, int]]:
    won = index.filter(pa.array(winners(index, needed)))
    return sorted(zip(*(won[name].to_pylist() for name in ("trial_id", "pack_id", "attempt")), strict=True))


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@settings(max_examples=60)
@given(listed=indices, needed=needs, random=st.randoms())
def test_the_winner_is_unique_and_does_not_depend_on_the_order(connection, listed, needed, random) -> None:
    found = winning(table(listed), needed)
    assert [row[0] for row in found] == sorted({row[0] for row in listed})
    shuffled = list(listed)
    random.shuffle(shuffled)
    assert winning(table(shuffled), needed) == found
    asked = {"trial_id": list(needed), "asked": [sorted(probes) for probes in needed.values()]}
    types = pa.schema([("trial_id", pa.string()), ("asked", pa.list_(pa.string()))])
    connection.register("index_rows", table(listed))
    connection.register("needed", pa.table(asked, schema=types))
    assert connection.execute(ORDER).fetchall() == found


@given(indices)
def test_the_index_counts_failures(listed) -> None:
    index = TrialIndex(table(listed))
    assert set(index) == {row[0] for row in listed}
    for trial_id, status in index.items():
        mine = [row for row in listed if row[0] == trial_id]
        assert status.num_attempts == sum(row[4] in RETRIABLE for row in mine)
        assert (status.state, status.probes) in [(row[4], frozenset(row[5])) for row in mine]
        assert (status.state in RETRIABLE) == all(row[4] in RETRIABLE for row in mine)


@pytest.mark.parametrize("column", INDEX_SCHEMA.names)
def test_rows_that_lack_a_value_are_not_believed(column: str) -> None:
    [known] = table([("t0", "p", 0, "s", State.DONE, {"a@1"})]).to_pylist()
    lacking = pa.Table.from_pylist([known, {**known, "trial_id": "t1", column: None}], INDEX_SCHEMA)
    with pytest.raises(StoreError, match=column):
        check_index(lacking, "s", None)


def test_overlapping_packs_of_two_writers_at_once(store: Store, driver: ModuleType) -> None:
    first, second = store.writer("toy", "p"), store.writer("toy", "q")
    driver.fill(first, [0, 1, 2])
    driver.fill(second, [2, 3])
    second.commit([driver.row(number) for number in (2, 3)])
    first.commit([driver.row(number) for number in (0, 1, 2)])
    resolved = store.resolve()
    assert resolved.index.num_rows == 5
    assert resolved.losers().to_pylist()[0]["pack_id"] == "q"
    assert sorted(resolved.winners()["trial_id"].to_pylist()) == [driver.trial_id(i) for i in range(4)]


def test_a_retry_replaces_an_error_and_a_measurement_replaces_a_failure(
    store: Store, driver: ModuleType
) -> None:
    def state() -> tuple[State, int]:
        status = store.index()[driver.trial_id(0)]
        return status.state, status.num_attempts

    for number in (1, 2):
        driver.write_pack(store, "p", [0], state=State.ERROR, reason="x")
        assert state() == (State.ERROR, number)
    driver.write_pack(store, "p", [0], state=State.FAILED, reason="x")
    assert state() == (State.FAILED, 2)
    driver.write_pack(store, "p", [0])
    assert state() == (State.DONE, 2)


def test_probes_that_a_reader_needs_decide(store: Store, driver: ModuleType) -> None:
    driver.write_pack(store, "p", [0], probes=("a", "b"))
    driver.write_pack(store, "q", [0], study="other", probes=("c",))
    trial = driver.trial_id(0)
    assert store.index()[trial].probes == {"a", "b"}
    assert store.index({trial: ("c",)})[trial].probes == {"c"}
