"""Text from outside: without secrets where it is kept, without control codes where it is shown."""

from __future__ import annotations

import os
import re
import sys
from types import ModuleType
from unittest.mock import Mock

import pytest
from arena import Arena
from canaries import ENVIRONMENT, files_below, found_in
from hypothesis import given
from hypothesis import strategies as st

from gradlaw import cli
from gradlaw.cli.app import say
from gradlaw.errors import StoreError
from gradlaw.store.store import Store
from gradlaw.text import printable, redact, shown
from gradlaw.trial import State
from gradlaw_analysis import open_store

CONTROL = "\x1b[2J\x1b]0;taken\x07\r\x9b31m\u202e"


@pytest.fixture
def _canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_canaries")
def test_a_reason_is_kept_without_the_secrets_in_it(arena: Arena, driver: ModuleType) -> None:
    store = Store.open(arena.store)
    reason = f"ConnectionError: {dict(os.environ)}"
    driver.write_pack(store, "failed", [90], state=State.ERROR, reason=reason)
    store.append_lock("toy", {"kind": "evaluation", "reason": reason})
    store.append_verdict("toy", {"kind": "verdict", "reason": reason})
    found = open_store(arena.store)
    told = found.sql("SELECT reason FROM trials WHERE state = 'error'")["reason"][0]
    assert "'WANDB_API_KEY': '[WANDB_API_KEY]'" in told
    assert "postgres://[credentials]@db.example" in told
    assert found_in(files_below(arena.store)) == []


def test_a_secret_of_odd_letters_or_of_digits_is_found_and_numbers_stay(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"ODD_PASSWORD": 'p&ss"wörd\\<1>', "DB_PASSWORD": "12345678", "SORT_KEY": "learning_rate"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    store = Store.open(arena.store)
    reason = " ".join(secrets.values())
    store.append_verdict("toy", {"learning_rate": 0.1234567812, "reasons": [reason]})
    [held] = store.verdicts("toy")
    reasons = ["[ODD_PASSWORD] [DB_PASSWORD] [SORT_KEY]"]
    assert held == {"learning_rate": 0.1234567812, "reasons": reasons, "number": 1}


@pytest.mark.parametrize(
    "name", ["PGPASSWORD", "SSHPASS", "MYSQL_PWD", "REDISCLI_AUTH", "githubToken", "API_KEY_2"]
)
def test_variables_of_secrets_are_known_by_their_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "canary-0009")
    assert redact("got canary-0009") == f"got [{name}]"


@pytest.mark.parametrize(
    "name", ["PWD", "OLDPWD", "XAUTHORITY", "TOKENIZERS", "SSH_AUTH_SOCK", "AWS_KEY_FILE"]
)
def test_other_variables_are_no_secrets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "canary-0009")
    assert redact("got canary-0009") == "got canary-0009"


@pytest.mark.usefixtures("_canaries")
def test_an_error_is_shown_without_the_secrets_in_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = f"refused: {' '.join(ENVIRONMENT.values())}"
    say(message)
    for error in (StoreError(message), ValueError(message)):
        monkeypatch.setattr(cli, "app", Mock(side_effect=error))
        with pytest.raises(SystemExit, match="1"):
            cli.main()
    told = capsys.readouterr()
    assert told.err.count("[DB_PASSWORD]") == 3
    assert found_in([("stdout", told.out.encode()), ("stderr", told.err.encode())]) == []


@pytest.mark.parametrize(
    "text",
    [
        "GET https://bucket.s3.amazonaws.com/a?X-Amz-Credential=AKIA1&X-Amz-Signature=0abc&x-id=Get",
        "https://storage.googleapis.com/b/o?X-Goog-Signature=0abc",
        "s3://AKIA1:0abc@bucket/prefix",
        "https://AKIA1:p@0abc@bucket/prefix",
    ],
)
def test_addresses_are_kept_without_what_opens_them(text: str) -> None:
    assert not re.search("AKIA1|0abc", redact(text))
    assert redact(text).startswith(text[:4])


@pytest.mark.parametrize(
    "text",
    [
        *("no secret here", "a@b.c", "lr=1e-3: got KEY, allowed TOKEN", "https://a/b?c=d"),
        *('["https://a.b","c@d.e"]', "<a href='https://a.b'>c@d.e</a>"),
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@given(st.text())
def test_nothing_shown_moves_a_cursor(text: str) -> None:
    assert all(letter.isprintable() or letter in "\n\t" for letter in shown(text))
    assert printable(text).count("\n") == text.count("\n")


def test_a_name_in_a_store_moves_no_cursor(
    arena: Arena, driver: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(arena.store)
    driver.write_pack(store, "odd", [91], host=f"host{CONTROL}", state=State.ERROR, reason=f"why{CONTROL}")
    (arena.store / "trials" / f"odd{CONTROL.replace('/', '')}.parquet").write_bytes(b"PAR1")
    for words in (["status"], ["compact"], ["sql", "SELECT host, reason FROM trials"], ["verdicts"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["gradlaw", *words, "--store", str(arena.store)])
            with pytest.raises(SystemExit):
                cli.main()
    told = capsys.readouterr()
    assert "odd\\x1b[2J" in told.err
    assert "host\\x1b[2J" in told.out
    assert not re.search("[\x1b\x9b\x07\u202e]", told.out + told.err)
