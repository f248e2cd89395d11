"""Standard output that cannot spell, that nobody reads any more, or that is full."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

CELLSEARCH = [sys.executable, "-m", "cellsearch"]


def said(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CELLSEARCH, *words],
        capture_output=True,
        encoding="latin-1" if more.get("PYTHONIOENCODING") == "latin-1" else "utf-8",
        check=False,
        env=os.environ | more,
    )


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "Räume 🔬.yaml"
    path.write_text("name: mine\nparameters:\n  augment.flip: {choice: [true]}\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_letters_that_an_encoding_has_not_are_escaped(encoding: str, space: Path) -> None:
    done = said("runs", "Zellen 🔬", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(r"no runs in Zellen \ud83d\udd2c; start one")
    # typer.echo, which has a way of its own with ASCII.
    done = said("spaces", "validate", str(space), PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr


def test_json_stays_json_in_ascii(space: Path) -> None:
    done = said("spaces", "validate", str(space), "--json", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["file"] == str(space)


@pytest.mark.parametrize("words", [("spaces", "list"), ("spaces", "show", "default", "--json")])
def test_a_closed_pipe_ends_without_a_word(words: tuple[str, ...]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [*CELLSEARCH, *words], stdout=writes, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    "words", [("spaces", "list"), ("datasets", "schema"), ("spaces", "show", "quick", "--yaml")]
)
def test_output_that_is_full_is_one_line_and_code_2(words: tuple[str, ...], tmp_path: Path) -> None:
    """A file that may not grow stands for a full disk."""
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run(
            [*CELLSEARCH, *words],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        )
    assert done.returncode == 2
    assert done.stderr == "cellsearch: cannot write to standard output: file too large\n"


def test_an_error_of_another_file_is_not_blamed_on_the_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cellsearch import cli

    def refuse(**_: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli, "app", refuse)
    with pytest.raises(OSError, match="No space left"):
        cli.main()
