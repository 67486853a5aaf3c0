"""Wheels of what is installed here, for a cluster to run: gradlaw, and whatever brings further studies.

A cluster's image has the dependencies; what changes from day to day goes along with the job. Ray knows a
wheel by its file's name, so the name carries a digest of the content: a changed checkout is another wheel.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, entry_points, packages_distributions
from pathlib import Path

from gradlaw.errors import UsageError
from gradlaw.provenance import COMMIT_FILE, git_commit
from gradlaw.studies import ENTRY_POINTS

DISTRIBUTION = "gradlaw"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every file in a wheel, the earliest a zip file knows: equal content gives equal bytes."""


def build_wheels(folder: Path) -> list[Path]:
    """Writes a wheel of gradlaw, and of each other distribution that brings studies, into a folder.

    They are read from where they are imported from: an editable checkout or an installed distribution. No
    requirements are declared, so that installing them fetches nothing.

    Args:
        folder: An existing folder.

    Returns:
        The wheels' files, gradlaw's first.

    Raises:
        UsageError: A distribution that names a package which is not there.
    """
    found = {DISTRIBUTION: distribution(DISTRIBUTION)}
    for point in entry_points(group=ENTRY_POINTS):
        if point.dist:
            found.setdefault(point.dist.name, point.dist)
    return [_build(found[name], folder) for name in found]


def _build(dist: Distribution, folder: Path) -> Path:
    files = dict(_files(dist))
    digest = hashlib.sha256()
    for name, data in files.items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    name = dist.name.replace("-", "_")
    version = f"{dist.version.partition('+')[0]}+{digest.hexdigest()[:12]}"
    info = f"{name}-{version}.dist-info"
    files |= _dist_info(dist, info, version)
    files[f"{info}/RECORD"] = _record(files, info)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path, EPOCH), data, zipfile.ZIP_DEFLATED)
    return wheel


def _files(dist: Distribution) -> Iterator[tuple[str, bytes]]:
    """Every file of the packages that the distribution brings or its entry points name, in order."""
    named = {point.module.partition(".")[0] for point in dist.entry_points}
    brought = {top for top, names in packages_distributions().items() if dist.name in names}
    for top in sorted(named | brought):
        spec = importlib.util.find_spec(top)
        if spec is None or not spec.origin:
            if top not in named:
                continue  # no package: a file that the installer put there
            msg = f"{dist.name}: got no package {top!r}, which its entry points name; install it again"
            raise UsageError(msg)
        root = Path(spec.origin).parent
        below = root.rglob("*") if spec.submodule_search_locations else [Path(spec.origin)]
        for file in sorted(item for item in below if item.is_file() and "__pycache__" not in item.parts):
            inside = file.relative_to(root)
            name = top / inside if spec.submodule_search_locations else inside
            yield name.as_posix(), file.read_bytes()


def _dist_info(dist: Distribution, info: str, version: str) -> dict[str, bytes]:
    metadata = ["Metadata-Version: 2.1", f"Name: {dist.name}", f"Version: {version}"]
    if python := dist.metadata.json.get("requires_python"):
        metadata.append(f"Requires-Python: {python}")
    wheel = ["Wheel-Version: 1.0", "Generator: gradlaw", "Root-Is-Purelib: true", "Tag: py3-none-any"]
    texts = {
        "METADATA": "\n".join(metadata) + "\n",
        "WHEEL": "\n".join(wheel) + "\n",
        "entry_points.txt": dist.read_text("entry_points.txt") or "",
    }
    if dist.name == DISTRIBUTION:
        texts[COMMIT_FILE] = git_commit()
    return {f"{info}/{name}": text.encode() for name, text in texts.items()}


def _record(files: dict[str, bytes], info: str) -> bytes:
    lines = []
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(data)}")
    return "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
