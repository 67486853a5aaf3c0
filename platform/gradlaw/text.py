r"""Text from outside, before it is kept or shown: without secrets, and without what a terminal obeys.

A task's error may quote its environment, a bucket's its address; a store or a study may hold any name.
"""

from __future__ import annotations

import os
import re

MIN_LETTERS = 8
"""A shorter value is no secret worth the name, and would be found inside other words."""

_SECRET = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASS|PAT|KEY|KEYS|APIKEY|CREDENTIALS?)(?:_|$)",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"_(?:PATH|FILE|DIR|MODE|TYPE|NAME)$", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_SIGNED = re.compile(r"(?i)\b((?:x-amz-|x-goog-)(?:signature|credential|security-token)=)[^&\s\"'<>]+")


def redact(text: str) -> str:
    """The text without the secrets of this process.

    Those are the values of environment variables that are named like one, and what addresses hold before an
    "@" or are signed with.

    >>> os.environ["SOME_API_KEY"] = "abcd-efgh-ijkl"
    >>> redact("401 for key abcd-efgh-ijkl at https://me:secret@host/x?X-Amz-Signature=12ab&y=1")
    '401 for key [SOME_API_KEY] at https://[credentials]@host/x?X-Amz-Signature=[signed]&y=1'
    >>> del os.environ["SOME_API_KEY"]
    """
    held = [
        (value, name)
        for name, value in os.environ.items()
        if len(value) >= MIN_LETTERS and _SECRET.search(name) and not _NO_SECRET.search(name)
    ]
    for value, name in sorted(held, key=lambda item: -len(item[0])):  # one may be part of another
        text = text.replace(value, f"[{name}]")
    return _SIGNED.sub(r"\1[signed]", _IN_ADDRESS.sub("[credentials]", text))


def printable(text: str) -> str:
    r"""The text with what could move a terminal's cursor, or turn a line around, spelt out; lines stay.

    >>> printable("a\x1b[2Jb\nc\u202ed")
    'a\\x1b[2Jb\nc\\u202ed'
    """
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1] for letter in text
    )


def shown(text: str) -> str:
    """The text as it may be shown to whoever looks at a terminal or reads a log."""
    return printable(redact(text))
