"""What is made once in a test run and read by all its processes: a finished run, a card.

Whichever process asks first makes it; the others wait at its lock and read what it left. Tests
change nothing of it: who must spoil a run or a card copies its folder.
"""

from __future__ import annotations

import os
import pickle  # noqa: TID251 - never leaves the test run that wrote it
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

Value = TypeVar("Value")

_HELD: dict[str, object] = {}


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run have in common."""
    base = factory.getbasetemp()
    # A worker of pytest-xdist has a folder of its own in that of the run.
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Value]) -> Value:
    """What ``make`` gives, called once in a test run with a folder for what it writes."""
    if name not in _HELD:
        folder = shared_folder(factory) / name
        value = folder / "value"
        with FileLock(folder.with_suffix(".lock")):
            if not value.is_file():
                folder.mkdir()
                made = make(folder)
                value.write_bytes(pickle.dumps(made))
        _HELD[name] = pickle.loads(value.read_bytes())
    return _HELD[name]  # type: ignore[return-value]
