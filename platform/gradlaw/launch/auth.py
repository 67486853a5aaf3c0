"""Ray's token: on for whatever is started or joined here, in a file that its owner alone can read.

Who reaches a Ray cluster without a token runs code on it. So authentication is never off by default; where
the environment turns it off (``RAY_AUTH_MODE=disabled``), that is said.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from pathlib import Path

from gradlaw.errors import UsageError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
WITH_TOKEN, WITHOUT = "token", "disabled"


def token_file() -> Path:
    """Where Ray looks for the token if ``RAY_AUTH_TOKEN`` does not hold it."""
    return Path(os.environ.get(TOKEN_PATH) or Path.home() / ".ray" / "auth_token")


def asked_mode() -> str:
    """Whether the environment wants Ray to ask for a token: on where it says nothing.

    Raises:
        UsageError: Another mode than these two, which Ray would take for off without a word.
    """
    got = os.environ.get(MODE, "")
    mode = got.lower() or WITH_TOKEN
    if mode not in (WITH_TOKEN, WITHOUT):
        msg = f"{MODE}: got {got!r}, allowed {WITH_TOKEN} or {WITHOUT}; unset it to ask for a token"
        raise UsageError(msg)
    return mode


def require_token() -> str:
    """Turns Ray's token on for this process and those it starts, unless the environment says otherwise.

    A token is made where there is none; what there is stays as it is.

    Returns:
        What the user should know: that there is no authentication, or others can read the token; else "".

    Raises:
        UsageError: Neither on nor off is asked for; or the token's file is not there though it is named, or
            cannot be read or made; or the token is nothing but spaces.
    """
    os.environ[MODE] = asked = asked_mode()
    if "ray._raylet" in sys.modules:  # it reads the environment once, when it is imported
        sys.modules["ray._raylet"].Config.initialize("")
    if asked == WITHOUT:
        return (
            f"{MODE}={WITHOUT}: whoever reaches the ports of this Ray cluster runs code on it; "
            f"unset {MODE} to ask for a token"
        )
    if token := os.environ.get(TOKEN):
        if not token.strip():
            msg = f"{TOKEN}: got nothing but spaces, allowed a token; unset it to use the one in a file"
            raise UsageError(msg)
        return ""
    file = token_file()
    try:
        if TOKEN_PATH not in os.environ:
            make_token(file)
        mode = stat.S_IMODE(file.stat().st_mode)
        file.read_bytes()
    except OSError as error:
        msg = (
            f"Ray's token: got {file} ({error.strerror}), allowed a file that can be read; "
            f"write a token there, or set {TOKEN}"
        )
        raise UsageError(msg) from error
    if mode & 0o077 and not is_shut(file.parent):
        return f"others can read Ray's token: {file} has mode {mode:03o}, allowed 600; run: chmod 600 {file}"
    return ""


def make_token(file: Path) -> None:
    """Writes a new token, whole and for the owner alone, unless there is one."""
    if file.exists():
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    whole = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    handle = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as opened:
            opened.write(secrets.token_hex(32))
        os.link(whole, file)
    except FileExistsError:  # another run was first, and its token is as good
        pass
    finally:
        whole.unlink()


def is_shut(folder: Path) -> bool:
    """Whether a folder above keeps others out."""
    return any(not stat.S_IMODE(item.stat().st_mode) & 0o011 for item in (folder, *folder.parents))
