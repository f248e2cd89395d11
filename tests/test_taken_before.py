"""What was taken before readers grew strict must still be taken, and nothing else with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import cellsearch as package
from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.column_notes import group_like
from cellsearch.data.source import load_dataset
from cellsearch.data.unlabelled import cells_to_predict

from command_cases import cellsearch
from table_cases import CELLS, CROPS, DONORS, LABELS, read, table

IMAGES = CROPS[:, 0]
NUMBERS = [CELLS - k for k in range(CELLS)]


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "x.npz", images=IMAGES, labels=np.array(LABELS), **arrays)
    return folder / "x.npz"


def test_lists_of_tensors_are_their_values() -> None:
    labels = [torch.tensor(k % 2) for k in range(CELLS)]
    cells = CellDataset.from_arrays(IMAGES, labels, classes=["p", "q"], groups=labels)
    assert cells.counts.tolist() == [18, 18]
    assert set(cells.groups.tolist() if cells.groups is not None else ()) == {"0", "1"}


def test_numbers_beyond_64_bits_are_names() -> None:
    cells = CellDataset.from_arrays(IMAGES, LABELS, ids=[2**63 + k for k in range(CELLS)])
    assert cells.ids[1] == str(2**63 + 1)


def test_a_class_called_none_comes_back_from_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for k, image in enumerate(IMAGES):
        folder = tmp_path / "cells" / ("NA", "None", "x")[k % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{k}.png")
    out = tmp_path / "out"
    convert = ("convert", tmp_path / "cells", "-o", out, "--to", "table")
    assert cellsearch(capsys, monkeypatch, *convert)[0] == 0
    again = load_dataset(out)
    assert again.classes == ("NA", "None", "x")
    assert again.counts.tolist() == [12, 12, 12]
    assert len(cells_to_predict(str(out / "cells.csv"), channels=again.channels)) == CELLS


def test_arrays_that_nobody_asked_for_may_hold_anything(tmp_path: Path) -> None:
    cells = read(npz(tmp_path, donor=np.array(DONORS, object), classes=np.array(["a", "b"], "S")))
    assert cells.classes == ("a", "b")
    assert cells.groups is None
    named = read(npz(tmp_path, groups=np.array(DONORS, "S")))
    assert named.groups is not None
    assert set(named.groups.tolist()) == set(DONORS)
    with h5py.File(tmp_path / "l.h5", "w") as file:
        file["images"], file["labels"] = IMAGES, [label.encode() for label in LABELS]
        file["donor"] = np.array([b"M\xfcller", b"d2", b"d3"] * (CELLS // 3))
    assert read(tmp_path / "l.h5").classes == ("a", "b")


def test_ids_that_tell_no_cells_apart_are_left(tmp_path: Path) -> None:
    assert read(npz(tmp_path, ids=np.array(DONORS))).ids[1] == "000001"
    assert read(npz(tmp_path, ids=np.array(NUMBERS))).ids[1] == str(CELLS - 1)


def test_prediction_asks_for_neither_labels_nor_groups(tmp_path: Path) -> None:
    groups = ["NA" if k % 4 == 0 else "d1" for k in range(CELLS)]
    path = npz(tmp_path, groups=np.array(groups))
    assert len(cells_to_predict(str(path), channels=("c",))) == CELLS
    rows = table(tmp_path, label=["NA"] * CELLS, group=groups)
    assert len(cells_to_predict(str(rows), channels=("c",))) == CELLS
    with pytest.raises(package.DataError, match="groups are missing for 9 of 36 cells"):
        read(path)


def test_loose_channel_files_are_converted_under_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    for k in range(4):
        for code in ("Ch1", "Ch2"):
            Image.fromarray(IMAGES[k]).save(loose / f"{k}_{code}.png")
    words = ("convert", loose, "-o", tmp_path / "o.npz", "--option", "codes=Ch1,Ch2")
    assert cellsearch(capsys, monkeypatch, *words, "--option", "channels=x,y")[0] == 0
    assert load_dataset(tmp_path / "o.npz").channels == ("x", "y")


@pytest.mark.slow
def test_an_empty_folder_is_empty_again_after_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    keys: dict[str, Any] = {"budget": 1, "folds": 2, "backend": "local", "threads": 1}
    space = {"parameters": {"model.depth": 1, "model.width": 8, "train.epochs": 1}}
    cells = CellDataset.from_arrays(IMAGES, LABELS)
    with pytest.raises(package.StorageError):
        package.search(
            cells, space, out=tmp_path / "run", storage="sqlite:////nonexistent/x.db", **keys
        )
    assert list((tmp_path / "run").iterdir()) == []
    assert package.search(cells, space, out=tmp_path / "run", metric="mcc", **keys).card


def test_names_of_donors_as_people_write_them() -> None:
    names = ["donorid", "Donor's ID", "participant", "case_id", "SampleID", "area", "valid"]
    assert set(group_like(names)) == set(names[:5])


def test_no_column_is_asked_for_by_an_empty_name(tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS, donor=DONORS)
    assert "donor" in read(path).provenance.notes
    assert read(path, group_column="").provenance.notes == ""


def test_a_copy_names_no_option_of_the_file_it_was_made_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, out = table(tmp_path, label=LABELS, donor=DONORS), tmp_path / "o.npz"
    assert cellsearch(capsys, monkeypatch, "convert", path, "-o", out)[0] == 0
    notes = load_dataset(out).provenance.notes
    assert "column donor (6 values) is not used as groups" in notes
    assert "--option" not in notes
