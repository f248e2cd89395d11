"""The wheel carries the shipped spaces and datasets, and works away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cellsearch.util import yaml_files

from conftest import REPOSITORY


def test_editable_install_lists_both() -> None:
    assert {"default", "quick"} <= set(yaml_files.names("search_spaces"))
    assert {"demo", "jurkat", "jurkat-full"} <= set(yaml_files.names("datasets"))


@pytest.mark.slow
def test_wheel_in_a_clean_environment_lists_both(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--installer", "uv", "-o", str(tmp_path)]
    subprocess.run([*build, str(REPOSITORY)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        shipped = archive.namelist()
    assert any("search_spaces/default.yaml" in name for name in shipped)
    assert "cellsearch/card/templates/README.md.j2" in shipped
    environment = tmp_path / "clean"
    subprocess.run(["uv", "venv", "-q", "-p", sys.executable, str(environment)], check=True)
    python = environment / "bin" / "python"
    light = ["typer", "rich", "pydantic", "ruamel.yaml", "numpy", "platformdirs", "filelock"]
    light += ["markupsafe", "pillow"]
    install = ["uv", "pip", "install", "-q", "-p", str(python)]
    subprocess.run([*install, *light], check=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)
    command = environment / "bin" / "cellsearch"
    for words, names in (
        (["spaces", "list"], ("default", "quick")),
        (["datasets", "list"], ("demo", "jurkat", "jurkat-full")),
    ):
        listed = subprocess.run(
            [command, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        for name in names:
            assert name in listed.stdout
