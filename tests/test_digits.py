"""Digits that are no numbers, and numbers of more digits than Python reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellsearch.audit.evidence import _trials
from cellsearch.data.readers.registry import layout
from cellsearch.doctor.checks import core_limit, memory_limit
from cellsearch.errors import ConfigError
from cellsearch.serve.guard import Guard
from cellsearch.serve.limits import Limits
from cellsearch.serve.problems import Problem
from cellsearch.util.hosts import KnownHosts


@pytest.mark.parametrize("length", ["²", "-1", "", "5" * 5000])
def test_a_length_that_is_no_number_is_not_read_as_one(length: str) -> None:
    scope = {
        "type": "http",
        "method": "GET",
        "headers": [(b"host", b"localhost"), (b"content-length", length.encode("latin-1"))],
    }
    Guard(None, hosts=KnownHosts(), limits=Limits())._require_known(scope)  # type: ignore[arg-type]


def test_a_length_beyond_the_limit_is_refused() -> None:
    length = str(10 * Limits().request_bytes).encode()
    headers = [(b"host", b"localhost"), (b"content-length", length)]
    scope = {"type": "http", "method": "GET", "headers": headers}
    with pytest.raises(Problem):
        Guard(None, hosts=KnownHosts(), limits=Limits())._require_known(scope)  # type: ignore[arg-type]


def test_a_folder_of_no_trial_among_trials_is_passed_over(tmp_path: Path) -> None:
    place = tmp_path / "trials" / "²"
    place.mkdir(parents=True)
    (place / "fold-0.npz").write_bytes(b"x")
    (place / "recipe.json").write_text("{}")
    assert _trials(tmp_path) == ([], [], {})


def test_limits_of_a_container_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("² 100000")
    (tmp_path / "memory.max").write_text("²")
    assert core_limit(tmp_path) is None
    assert memory_limit(tmp_path) is None


@pytest.mark.parametrize("size", ["9" * 5000, "⁴⁰x⁴⁰"])
def test_a_size_of_no_number_says_what_is_expected(size: str) -> None:
    with pytest.raises(ConfigError, match="expected HEIGHTxWIDTH in px"):
        layout("folders", {"size": size})
