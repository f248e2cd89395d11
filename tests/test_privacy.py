"""Nothing that a card does is told to anybody outside this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.util.telemetry import SILENCED, keep_silent

from card_cases import made

PROGRAM = """
import sys
import cellsearch
import numpy as np
card = cellsearch.load_card(sys.argv[1])
shape = (1, len(card.config.channels), card.config.height, card.config.width)
print(card.predict(np.full(shape, 60, card.config.dtype)).shape)
"""


def test_a_prediction_leaves_no_report_to_be_sent(
    tiny_dataset: CellDataset, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    card = made(tiny_dataset, tmp_path_factory).card.folder
    # onnxruntime keeps still on servers of CI by itself, and where it was told before.
    ours = {name: value for name, value in os.environ.items() if name not in {"CI", *SILENCED}}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(card)],
        env={name: v for name, v in ours.items() if not name.startswith("GITHUB_")} | home,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "(1, 3)"
    assert [path for path in tmp_path.rglob("*") if "microsoft" in path.name.lower()] == []


def test_who_wants_to_report_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "")
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    keep_silent()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == ""
    assert os.environ["DO_NOT_TRACK"] == "1"
