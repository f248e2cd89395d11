"""Every kind of image file is read right or refused by its own name, whatever is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import image_matrix as matrix

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    return matrix.run(matrix.all_cells())


def test_no_kind_of_image_file_is_read_wrongly(outcomes: dict[str, str]) -> None:
    wrong = [f"{name}: {each}" for name, each in outcomes.items() if each.startswith("wrong")]
    assert not wrong, "\n".join(wrong)
    found = matrix.counts(outcomes)
    # Writers that refuse more must not make this test empty.
    assert found["right"] > 2500
    assert found["refused"] > 700


def test_each_format_and_dtype_has_cells_that_are_read(outcomes: dict[str, str]) -> None:
    right = [name.split() for name, each in outcomes.items() if each == "right"]
    assert {words[0] for words in right} == {
        *("tif", "png", "bmp", "pgm", "ppm", "gif", "jpg", "webp")
    }
    assert {*matrix.DTYPES} - {word for words in right for word in words} == {"complex64"}


def test_what_else_is_installed_changes_no_pixel(outcomes: dict[str, str]) -> None:
    script = Path(matrix.__file__)
    without = ",".join(matrix.OPTIONAL)
    done = subprocess.run(
        [sys.executable, str(script), "--without", without],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(script.parents[1]), "PATH": ""},
    )
    found = matrix.counts(outcomes)
    assert done.stdout.splitlines()[-1] == ", ".join(f"{n} {what}" for what, n in found.items())
    assert done.stderr == ""
