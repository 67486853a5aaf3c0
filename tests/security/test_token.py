"""Ray's token: asked for unless the environment says otherwise, and kept for its owner."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from gradlaw.errors import UsageError
from gradlaw.launch import auth


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (auth.MODE, auth.TOKEN, auth.TOKEN_PATH):
        monkeypatch.setenv(name, "")  # so that it is as it was in the end, even if it was not there
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "ray._raylet", raising=False)


def test_a_token_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    assert auth.require_token() == ""
    assert os.environ[auth.MODE] == "token"
    file = tmp_path / ".ray" / "auth_token"
    token = file.read_text()
    assert len(token) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [item.name for item in file.parent.iterdir()] == ["auth_token"]
    assert auth.require_token() == ""
    assert file.read_text() == token


def test_a_token_that_others_can_read_is_said_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    auth.require_token()
    file = auth.token_file()
    file.chmod(0o644)
    monkeypatch.setattr(auth, "is_shut", lambda folder: False)
    assert auth.require_token().endswith(f"has mode 644, allowed 600; run: chmod 600 {file}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_folder_above_may_keep_others_out(tmp_path: Path) -> None:
    auth.require_token()
    auth.token_file().chmod(0o644)
    tmp_path.chmod(0o700)
    assert auth.require_token() == ""


def test_off_is_never_unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(auth.MODE, "disabled")
    assert "whoever reaches the ports of this Ray cluster runs code on it" in auth.require_token()
    assert os.environ[auth.MODE] == "disabled"


@pytest.mark.parametrize("mode", ["tokn", "off", "token ", "none"])
def test_a_mode_that_ray_would_take_for_off_is_refused(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(auth.MODE, mode)
    with pytest.raises(UsageError, match=f"RAY_AUTH_MODE: got '{mode}', allowed token or disabled"):
        auth.require_token()


@pytest.mark.parametrize("mode", ["", "TOKEN"])
def test_on_is_spelt_as_every_look_at_it_expects(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(auth.MODE, mode)
    assert auth.require_token() == ""
    assert os.environ[auth.MODE] == "token"


def test_a_token_of_spaces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(auth.TOKEN, "  ")
    with pytest.raises(UsageError, match="RAY_AUTH_TOKEN: got nothing but spaces"):
        auth.require_token()


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(auth.TOKEN_PATH, str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"got .*none \(No such file or directory\), allowed"):
        auth.require_token()
    assert not (tmp_path / "none").exists()


def test_credentials_of_a_bucket_travel_by_no_way_that_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune.execution import class_cache

    from gradlaw.launch import credentials

    for name in credentials.NAMES:
        monkeypatch.setenv(name, f"of {name}")
    sent = credentials.held_here()
    assert sent == {name: f"of {name}" for name in credentials.NAMES}
    remote = class_cache._ActorClassCache().get(type("Any", (), {}))
    logged = str(remote._default_options["runtime_env"])
    assert "PL_DISABLE_FORK" in logged, "this is what Ray Tune hands on"
    assert "AWS" not in logged

    credentials.take({"AWS_ACCESS_KEY_ID": "another"})
    assert os.environ["AWS_ACCESS_KEY_ID"] == "of AWS_ACCESS_KEY_ID"
    for name in credentials.NAMES:
        monkeypatch.delenv(name)
    credentials.take(sent)
    assert credentials.held_here() == sent
    for name in credentials.NAMES:
        monkeypatch.delenv(name)
