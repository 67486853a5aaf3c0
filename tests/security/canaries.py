"""Secrets that nobody has, as a real environment would hold them, and where they are found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYCANARY0001",
    "AWS_SECRET_ACCESS_KEY": "canary/secret+0002/abcdefghijklmnop",
    "AWS_SESSION_TOKEN": "canary-session-0003-abcdefgh",
    "WANDB_API_KEY": "canary0004abcdef0123456789",
    "DB_PASSWORD": "canary-password-0005",
    "DATABASE_URL": "postgres://reader:canary-in-url-0006@db.example/x",
    "RAY_AUTH_TOKEN": "canary7777aaaabbbbccccddddeeeeffff0000111122223333444455556666abcd",
}
SECRETS = (*list(ENVIRONMENT.values())[:5], "canary-in-url-0006", ENVIRONMENT["RAY_AUTH_TOKEN"])


def found_in(texts: Iterable[tuple[str, bytes]]) -> list[tuple[str, str]]:
    """Which secrets stand where."""
    return [(place, secret) for place, text in texts for secret in SECRETS if secret.encode() in text]


def files_below(folder: Path) -> list[tuple[str, bytes]]:
    """Every file's name and content."""
    return [(str(path), path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]
