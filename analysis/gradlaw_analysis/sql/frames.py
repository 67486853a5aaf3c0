"""How the child sends its result: frames of one letter, a length and a body, each bounded.

A reader knows a frame's length before it holds the frame, so that a flood is stopped before it costs
the reader memory; an error comes in order with the rows, on the same pipe.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import Enum

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

HEADER = struct.Struct(">cQ")
FRAME_BYTES = 4 << 20
ERROR_BYTES = 64 << 10


class Kind(Enum):
    """What a frame holds."""

    DATA = b"A"  # an Arrow stream of no batch (the schema, sent first) or of one
    ERROR = b"E"  # a message in UTF-8; nothing follows
    END = b"Z"  # empty: the result is complete


def pack_batch(schema: pa.Schema, batch: pa.RecordBatch | None) -> bytes:
    """Returns a stream of its own for one batch, so that dictionaries travel with it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        if batch is not None:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def split(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yields slices of about ``FRAME_BYTES`` or one row, whichever is larger."""
    if batch.nbytes <= FRAME_BYTES or batch.num_rows <= 1:
        yield batch
        return
    half = batch.num_rows // 2
    yield from split(batch.slice(0, half))
    yield from split(batch.slice(half))
