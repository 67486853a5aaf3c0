"""Where studies are found: folders, under the packages that entry points name, or given by path; and sweeps.

A package named by an entry point of group ``gradlaw.studies`` is a root: each folder in it that holds a
``study.py`` is a study. The studies that ship with gradlaw are found in the same way as anyone's.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gradlaw.claim import Claim
from gradlaw.errors import ClaimError, GradlawError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from gradlaw.figure import Figure
    from gradlaw.study import Study

ENTRY_POINTS = "gradlaw.studies"
SWEEPS = (".yaml", ".yml")
"""Suffixes of a sweep's file."""

_INCLUDE = re.compile(r"^[ \t]*-- include: (\S+)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class StudyFolder:
    """A study's folder: its parts, each imported when asked for.

    Claims and figures are read without importing ``study.py``, so that analysis needs no torch.

    Attributes:
        path: The folder.
        package: Name under which it is imported.
    """

    path: Path
    package: str

    @property
    def name(self) -> str:
        """The folder's name is the study's."""
        return self.path.name

    @cached_property
    def study(self) -> Study:
        """``STUDY`` of ``study.py``."""
        study: Study = self._attribute("study", "STUDY", "Study")
        if study.name != self.name:
            file = self.path / "study.py"
            msg = f"{file}: STUDY.name is {study.name!r}, allowed: the folder's name {self.name!r}"
            raise UsageError(msg)
        return study

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """``CLAIMS`` of ``claims.py``; none where there is no such file."""
        return self._optional("claims", "CLAIMS")

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """``FIGURES`` of ``figures.py``; none where there is no such file."""
        return self._optional("figures", "FIGURES")

    def sql(self, file: str) -> str:
        """The text of one of the study's SQL files.

        A line ``-- include: other.sql`` stands for the text of that file, so that what several queries begin
        with is written once, and whatever is done with the text (a claim's lock, a verdict) has all of it.

        Raises:
            UnknownNameError: There is no such file; the message lists those there are.
            ClaimError: A file includes itself.
        """
        return self._included(file, ())

    def _included(self, file: str, within: tuple[str, ...]) -> str:
        known = [item.name for item in self.path.glob("*.sql")]
        if file not in known:
            raise UnknownNameError(file, kind=f"SQL file of study {self.name}", known=known)
        if file in within:
            msg = (
                f"study {self.name}: {' includes '.join((*within, file))}; allowed: no file that holds itself"
            )
            raise ClaimError(msg)
        text = (self.path / file).read_text(encoding="utf-8")
        return _INCLUDE.sub(lambda line: self._included(line[1], (*within, file)).rstrip(), text)

    def _optional(self, module: str, name: str) -> tuple[Any, ...]:
        if not (self.path / f"{module}.py").is_file():
            return ()
        found: tuple[Any, ...] = self._attribute(module, name, "tuple")
        return found

    def _attribute(self, module: str, name: str, kind: str) -> Any:
        value = getattr(_import(f"{self.package}.{module}", self.path), name, None)
        if type(value).__name__ != kind:  # by name: analysis reads claims without torch
            file = self.path / f"{module}.py"
            msg = f"{file}: {name} is {type(value).__name__}, allowed: a {kind} named {name}"
            raise UsageError(msg)
        return value


class Claimless(StudyFolder):
    """A study without a folder: it has trials in a store, and no claims, SQL or figures.

    Attributes:
        path: Its name, or the file that has more to say of it.
    """

    claims = ()
    figures = ()

    def __init__(self, path: Path) -> None:
        super().__init__(path, "")


class SweepFile(Claimless):
    """A sweep's file; see :mod:`gradlaw.sweep`. Its name is known without torch."""

    @cached_property
    def name(self) -> str:
        """What the file says, or its stem."""
        from gradlaw.sweep.name import read_name

        return read_name(self.path)

    @cached_property
    def study(self) -> Study:
        """What the file stands for, with one preset."""
        study: Study = importlib.import_module("gradlaw.sweep.read").read_sweep(self.path).study
        return study


def _import(module: str, folder: Path) -> ModuleType:
    """Imports a module of a study, whose parent folder may have to be made importable first."""
    package = module.split(".", 1)[0]
    if package == folder.name and folder.resolve() not in _locations(package):
        sys.path.append(str(folder.parent))
        importlib.invalidate_caches()
        if folder.resolve() not in _locations(package):
            raise _taken(package, folder, _locations(package)[0])
    try:
        loaded = importlib.import_module(module)
    except GradlawError:
        raise
    except Exception as error:  # of whoever wrote the study, to whom a line of it says more than our calls
        msg = f"{_place(error, folder)}: {type(error).__name__}: {getattr(error, 'msg', error)}"
        raise UsageError(msg) from error
    file = Path(loaded.__file__ or "")
    if file.resolve().parent != folder.resolve():
        raise _taken(package, folder, file.parent)
    return loaded


def _place(error: Exception, folder: Path) -> str:
    """The last line of a study's own that an error passed through, or where its text is no Python."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent.resolve() == folder.resolve()]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else str(folder)


def _locations(package: str) -> list[Path]:
    """Folders, or the file, that a name is imported from; several for a package without ``__init__``."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return []
    found = spec.submodule_search_locations or [spec.origin or package]
    return [Path(item).resolve() for item in found]


def _taken(package: str, folder: Path, holder: Path) -> UsageError:
    return UsageError(f"study {folder}: the name {package!r} is already that of {holder}; rename the folder")


def find_studies() -> dict[str, StudyFolder]:
    """All studies of all installed roots, by name, in the order of their names.

    Raises:
        UsageError: Two roots hold a study of one name.
    """
    found: dict[str, StudyFolder] = {}
    for point in entry_points(group=ENTRY_POINTS):
        spec = importlib.util.find_spec(point.value)
        for root in (spec.submodule_search_locations or []) if spec else []:
            for file in sorted(Path(root).glob("*/study.py")):
                folder = StudyFolder(file.parent, f"{point.value}.{file.parent.name}")
                if folder.name in found and found[folder.name].path != folder.path:
                    msg = f"two studies named {folder.name!r}: {found[folder.name].path} and {folder.path}"
                    raise UsageError(msg)
                found[folder.name] = folder
    return dict(sorted(found.items()))


def find_study(reference: str | Path) -> StudyFolder:
    """The study of a name, or in a folder; or the sweep of a file.

    Raises:
        UnknownNameError: No study has this name, and there is no folder of this path.
        UsageError: The folder holds no ``study.py``, or there is no such file.
    """
    known = find_studies()
    path = Path(reference)
    if path.suffix in SWEEPS:
        if not path.is_file():
            msg = f"{path}: there is no such file; name the file of a sweep, or one of: {', '.join(known)}"
            raise UsageError(msg)
        return SweepFile(path)
    if str(reference) not in known and (path / "study.py").is_file():
        return StudyFolder(path.resolve(), path.resolve().name)
    if str(reference) not in known:
        if path.is_dir():
            msg = f"{path} holds no study.py; name the folder of a study, or one of: {', '.join(known)}"
            raise UsageError(msg)
        raise UnknownNameError(str(reference), kind="study", known=known)
    return known[str(reference)]
