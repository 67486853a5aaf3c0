"""Rows of the index as they come and go with their units, against a dictionary of lists."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.store.units import IndexRows
from gradlaw.store.winners import INDEX_SCHEMA

looks = st.lists(st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 3)), max_size=6)


def rows(key: str, look: int, num: int) -> pa.Table:
    """Rows of a unit as this look reads them: no other unit or look has the same."""
    fields = dict.fromkeys(INDEX_SCHEMA.names, f"{key}{look}") | {"attempt": look, "state": "done"}
    listed = [{**fields, "trial_id": f"{key}{look}{row}"} for row in range(num)]
    return pa.Table.from_pylist(listed, INDEX_SCHEMA)


@given(looks, st.randoms())
def test_each_look_holds_the_rows_of_its_units_in_their_order(looks, random) -> None:
    held, known = IndexRows(), dict[str, list[dict[str, object]]]()
    for look, found in enumerate(looks):
        keys = list(found)
        random.shuffle(keys)  # a part comes before the commits, and may stand where several of them stood
        fresh = {key: rows(key, look, found[key]) for key in keys if key not in known}
        held.add({key: table for key, table in fresh.items() if key < "d"})
        held.add({key: table for key, table in fresh.items() if key >= "d"})
        # What vanished is forgotten, and read anew if it comes back.
        known = {key: known[key] if key in known else fresh[key].to_pylist() for key in keys}
        gathered = held.gather(keys)
        assert gathered.schema == INDEX_SCHEMA
        assert gathered.to_pylist() == [row for key in keys for row in known[key]]
