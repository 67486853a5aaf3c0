"""A strict, stable encoding of configurations, and digests of it.

Two values have one digest exactly if they are equal and of equal type: 1, 1.0, True and "1" differ.
Floats are written as hexadecimal, so no digit is lost. What has no stable encoding raises.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any

from gradlaw.errors import EncodingError


def encode(value: object) -> str:
    """Encodes ``value`` as a canonical string.

    Args:
        value: None, bool, int, finite float, str, Enum, or a sequence, mapping (string keys) or
            dataclass of those.

    Returns:
        A string that is equal for equal values of equal type, whatever the order of mapping keys.

    Raises:
        EncodingError: For any other type, a non-finite float, a text that is not Unicode or a key that is
            not a string.

    >>> encode({"lr": 0.5, "batch_size": 32})
    '{"batch_size":i32,"lr":f0x1.0000000000000p-1}'
    """
    if isinstance(value, str):
        return _encode_text(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return encode(value.value)
    if type(value) is int:
        return f"i{value}"
    if type(value) is float:
        return _encode_float(value)
    if isinstance(value, Mapping):
        return _encode_mapping(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return "[" + ",".join(encode(item) for item in value) + "]"
    if is_dataclass(value) and not isinstance(value, type):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        return type(value).__name__ + _encode_mapping(named)
    msg = (
        f"no stable encoding for {value!r} of type {type(value).__name__}; "
        "allowed: None, bool, int, finite float, str, and sequences, mappings and dataclasses of those"
    )
    raise EncodingError(msg)


def _encode_text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            msg = f"no stable encoding for the text {value!r}: {error.reason}"
            raise EncodingError(msg) from error
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _encode_float(value: float) -> str:
    if not math.isfinite(value):
        msg = f"no stable encoding for the float {value!r}; allowed: finite floats"
        raise EncodingError(msg)
    return f"f{(value + 0.0).hex()}"  # adding 0.0 makes -0.0 and 0.0 one value


def _encode_mapping(value: Mapping[Any, object]) -> str:
    for key in value:
        if not isinstance(key, str):
            msg = f"no stable encoding for the mapping key {key!r}; allowed: str"
            raise EncodingError(msg)
    return "{" + ",".join(f"{_encode_text(key)}:{encode(value[key])}" for key in sorted(value)) + "}"


def encode_around(value: Mapping[str, object], gaps: Collection[str]) -> tuple[str, ...]:
    """The encoding of a mapping, cut where the values of some further keys belong.

    Args:
        value: The mapping without those keys.
        gaps: The keys left out, at least one.

    Returns:
        One part more than there are gaps: with the encoded values between them, in the order of their keys,
        they are the encoding of the whole.

    >>> encode_around({"lr": 0.5, "task": "digits"}, ["seed"])
    ('{"lr":f0x1.0000000000000p-1,"seed":', ',"task":"digits"}')
    """
    parts, text = [], "{"
    for number, key in enumerate(sorted({*value, *gaps})):
        text += f"{',' if number else ''}{_encode_text(key)}:"
        if key in gaps:
            parts.append(text)
            text = ""
        else:
            text += encode(value[key])
    return (*parts, text + "}")


def digest(value: object, *, length: int = 16) -> str:
    """Returns the first ``length`` hexadecimal digits of the SHA-256 of ``encode(value)``."""
    return digest_of_text(encode(value), length=length)


def digest_of_text(text: str, *, length: int = 16) -> str:
    """The digest of what was encoded already."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@cache
def source_digest(*objects: type) -> str:
    """Digest of the source text of classes: warns when code changed without a version bump.

    "" where there is no source text, as for what was typed into a console.
    """
    try:
        text = "\n".join(inspect.getsource(item) for item in objects)
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
