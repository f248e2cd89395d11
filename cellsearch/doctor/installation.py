"""Versions of what is installed, against what cellsearch asks for."""

from __future__ import annotations

import platform
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

from cellsearch.doctor.checks import Check

NAMED = ("torch", "ray", "optuna", "onnxruntime", "numpy", "scikit-learn")
"""Packages whose version is shown even where all is well."""


def _requirements() -> tuple[list[Requirement], dict[str, list[Requirement]]]:
    """Those that hold here, always and of each extra."""
    always: list[Requirement] = []
    extras: defaultdict[str, list[Requirement]] = defaultdict(list)
    known = metadata.metadata("cellsearch").get_all("Provides-Extra") or []
    for text in metadata.requires("cellsearch") or []:
        each = Requirement(text)
        if each.marker is None or each.marker.evaluate({"extra": ""}):
            always.append(each)
            continue
        for extra in known:
            if each.marker.evaluate({"extra": extra}):
                extras[extra].append(each)
    return always, dict(extras)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def packages() -> Iterator[Check]:
    """Python, and every package that is always needed."""
    version = platform.python_version()
    yield Check("Python", "ok", f"{version} ({platform.system()}, {platform.machine()})")
    try:
        always, _ = _requirements()
    except metadata.PackageNotFoundError:
        yield Check("cellsearch", "warning", "not installed, run from its sources", "pip install .")
        return
    yield Check("cellsearch", "ok", metadata.version("cellsearch"))
    for each in always:
        version_here = _version(each.name)
        wanted = f"{each.name}{each.specifier}"
        if version_here is None:
            yield Check(each.name, "problem", "not installed", f"pip install '{wanted}'")
        elif not each.specifier.contains(version_here, prereleases=True):
            yield Check(
                each.name,
                "problem",
                f"{version_here}, but {each.specifier} is needed",
                f"pip install '{wanted}'",
            )
        elif each.name in NAMED:
            yield Check(each.name, "ok", version_here)


def compiled() -> Iterator[Check]:
    """Whether each process would compile torch anew, which takes it seconds."""
    found = find_spec("torch")
    if not sys.dont_write_bytecode or found is None or found.cached is None:
        return
    if not Path(found.cached).is_file():
        yield Check(
            "compiled files",
            "warning",
            "Python may not keep what it compiles (PYTHONDONTWRITEBYTECODE, or -B), and torch is "
            "not compiled: each process begins seconds later",
            "uv sync --all-extras --compile-bytecode, or unset PYTHONDONTWRITEBYTECODE",
        )


def extras() -> Iterator[Check]:
    """Which extras are there; a missing one is no fault."""
    try:
        _, every = _requirements()
    except metadata.PackageNotFoundError:
        return
    there, missing, old = [], [], []
    for extra, needed in sorted(every.items()):
        versions = [(each, _version(each.name)) for each in needed]
        if any(version is None for _, version in versions):
            missing.append(extra)
            continue
        there.append(extra)
        old += [
            f"{each.name} {version} ({each.specifier} is needed by the extra {extra})"
            for each, version in versions
            if version is not None and not each.specifier.contains(version, prereleases=True)
        ]
    text = f"{', '.join(there) or 'none'}"
    if missing:
        text += f"; not installed: {', '.join(missing)} (pip install 'cellsearch[NAME]')"
    yield Check("extras", "ok", text)
    for each in old:
        yield Check("extras", "warning", each, "pip install --upgrade cellsearch with the extra")
