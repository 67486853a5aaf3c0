"""Folders and imports: what may see what, what is loaded, and what a wheel holds."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"platform": "gradlaw", "studies": "gradlaw_studies", "analysis": "gradlaw_analysis"}


def python(code: str, *, cwd: Path = ROOT) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_folder_platform_does_not_shadow_the_standard_module() -> None:
    assert not list((ROOT / "platform").glob("*.py"))
    assert not (ROOT / "tests" / "platform").exists()
    found = python("import platform, torch; print(platform.__file__, platform.python_version())")
    assert Path(found.split()[0]).parent == Path(sysconfig.get_path("stdlib"))


@pytest.mark.parametrize(
    "folder",
    [
        "analysis/gradlaw_analysis",
        "platform/gradlaw/adaptive",
        "platform/gradlaw/doctor",
        "platform/gradlaw/engine",
        "platform/gradlaw/launch",
        "platform/gradlaw/planning",
        "platform/gradlaw/running",
        "platform/gradlaw/store",
        "platform/gradlaw/submit",
        "platform/gradlaw/sweep",
    ],
)
def test_a_folder_says_what_each_of_its_modules_is_for(folder: str) -> None:
    said = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    named = set(re.findall(r"``(\w+)``|`gradlaw\.\w+\.(\w+)\.", said))
    held = {file.stem for file in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert held - {name for pair in named for name in pair} == set(), "name them in its __init__.py"


@pytest.mark.slow
def test_imports_go_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (["gradlaw_analysis", "gradlaw.claim", "gradlaw.studies", "gradlaw.cli"], ["torch", "ray"]),
        (
            [
                "gradlaw.engine.run",
                "gradlaw.tasks.digits",
                "gradlaw.tasks.modular_addition",
                "gradlaw.rules.adam",
                "gradlaw.probes.losses",
                "gradlaw.schedules",
                "gradlaw.store.writer",
                "gradlaw.launch.inline",
            ],
            ["ray", "duckdb", "pydantic", "typer", "rich", "pandas", "sklearn", "matplotlib", "optuna"],
        ),
    ],
)
def test_what_is_not_loaded(modules: list[str], absent: list[str]) -> None:
    names = ", ".join(modules)
    loaded = python(f"import sys, {names}; print(*[name for name in {absent} if name in sys.modules])")
    assert loaded == ""


@pytest.mark.slow
def test_a_study_installed_by_anyone_is_found(tmp_path: Path) -> None:
    """By an entry point of its distribution, as gradlaw's own; here a distribution is three files."""
    package, info = tmp_path / "our_studies" / "tiny", tmp_path / "ours-1.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    source = ROOT / "tests" / "fixtures" / "studies" / "tiny"
    for name in ("study.py", "problem.py"):
        text = (source / name).read_text().replace("from tiny.", "from our_studies.tiny.")
        (package / name).write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gradlaw.studies]\nours = our_studies\n")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    words = [sys.executable, "-m", "gradlaw.cli"]
    listed = subprocess.run([*words, "studies"], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    assert "tiny: Does least squares go down?" in listed.stdout
    words += ["run", "tiny", "--seeds", "1", "--launcher", "inline"]
    done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 done" in done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", *(f"{root}/{name}" for root, name in PACKAGES.items())],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    wanted = {file.split("/", 1)[1] for file in tracked if (ROOT / file).exists()}
    assert len(wanted) > 100
    assert wanted - held == set()
    assert {name.split("/")[0] for name in held if "dist-info" not in name} == set(PACKAGES.values())


@pytest.mark.slow
def test_the_installed_wheel_runs_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, which borrows the dependencies of this one, in a folder of its own."""
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    words = ["--target", str(site), "--no-deps", "--no-index", "--no-compile", "--quiet", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "install", *words], check=True, timeout=120)
    # As a plain path, not as a site folder: then the editable install there is not seen.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    words = [str(home / "bin" / "python"), "-m", "gradlaw.cli"]
    where = subprocess.run(
        [words[0], "-c", "import gradlaw, gradlaw_studies; print(gradlaw.__file__, gradlaw_studies.__file__)"],  # noqa: E501
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert all(Path(file).is_relative_to(site) for file in where), where
    listed = subprocess.run([*words, "studies"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert listed.returncode == 0, listed.stderr
    assert "sqrt_b: " in listed.stdout
    tiny = str(ROOT / "tests" / "fixtures" / "studies" / "tiny")
    words += ["run", tiny, "--seeds", "1", "--launcher", "inline"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
