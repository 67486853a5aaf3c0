r"""Text from outside, before it is kept or shown: without secrets, and without what a terminal obeys.

A task's error may quote its environment, a bucket's its address; a store or a study may hold any name.
"""

from __future__ import annotations

import os
import re
from typing import Any

MIN_LETTERS = 8
"""A shorter value is no secret worth the name, and would be found inside other words."""

_SECRET = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASS|PAT|KEY|KEYS|APIKEY|CREDENTIALS?)(?:_|$)"
    r"|(?:TOKEN|SECRET|PASSWORD|PASSPHRASE|SSHPASS|MYSQL_PWD|_AUTH)$",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"_(?:PATH|FILE|DIR|MODE|TYPE|NAME)$", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s\"'<>]+(?=@)")  # to the last "@": a password may hold one
_WORD = re.compile(r"[a-z_]+")
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
    if len(text) < MIN_LETTERS:
        return text
    held = [
        (value, name)
        for name, value in os.environ.items()
        if len(value.strip()) >= MIN_LETTERS and _SECRET.search(name) and not _NO_SECRET.search(name)
    ]
    for value, name in sorted(held, key=lambda item: -len(item[0])):  # one may be part of another
        text = text.replace(value, f"[{name}]")
    return _SIGNED.sub(r"\1[signed]", _IN_ADDRESS.sub("[credentials]", text))


def redacted(document: Any) -> Any:  # plain data, of which each text is looked at
    """A document of texts, numbers, lists and mappings with its texts redacted, before it is written as JSON.

    Written out, a secret may be spelt otherwise, and a number may hold the digits of one. Keys stay
    where they are words, as those of a document's own are.

    >>> os.environ["SOME_API_KEY"] = "12345678"
    >>> redacted({"reason": "for 12345678", "effect": 0.123456781})
    {'reason': 'for [SOME_API_KEY]', 'effect': 0.123456781}
    >>> del os.environ["SOME_API_KEY"]
    """
    if isinstance(document, str):
        return redact(document)
    if isinstance(document, dict):
        return {_key(key): redacted(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [redacted(value) for value in document]
    return document


def _key(key: Any) -> Any:
    return redact(key) if isinstance(key, str) and not _WORD.fullmatch(key) else key


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
