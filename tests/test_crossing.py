"""Columns of donors that cross the groups which were taken, wherever cells come from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from test_passed_over import CELLS, CROPS, DONORS, LABELS, read, table, undeclared

from cellsearch.audit.parts import groups_together
from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.column_notes import CROSSES, without_remedies
from cellsearch.data.splits import draw_splits
from cellsearch.errors import DataError
from cellsearch.first_look import first_look

# Three plates, each of which holds cells of every donor.
PLATES = [f"p{k % 3}" for k in range(CELLS)]


def crossing(cells: CellDataset, donors: str = "donor", groups: str = "group") -> None:
    """One finding says so, and how it is mended."""
    (finding,) = undeclared(cells)
    assert finding.severity == "warning"
    assert f"{donors} (6 values) {CROSSES} of {groups}: cells of one" in finding.message
    assert f"={donors}" in finding.message


def test_a_table_tells(tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS, group=PLATES, donor=DONORS)
    cells = read(path)
    assert cells.groups is not None
    assert cells.groups.tolist() == PLATES
    crossing(cells)
    assert sum(CROSSES in note for note in first_look(path).layout.notes) == 1
    assert undeclared(read(path, group_column="donor")) == []
    assert CROSSES in without_remedies(cells.provenance.notes)
    assert "--option" not in without_remedies(cells.provenance.notes)


def test_the_audit_tells(tmp_path: Path) -> None:
    cells = read(table(tmp_path, label=LABELS, group=DONORS, donor=PLATES))
    splits = draw_splits(cells, folds=2, seed=0)
    check = groups_together(SimpleNamespace(cells=cells, splits=splits))  # type: ignore[arg-type]
    assert check.status == "passed"
    assert f"6 groups; column donor (3 values) {CROSSES} of group" in check.detail


def test_who_lies_within_the_groups_or_is_narrower_is_not_told(tmp_path: Path) -> None:
    within = [f"{donor[0]}{int(donor[1]) // 2}" for donor in DONORS]
    path = table(tmp_path, label=LABELS, group=within, donor=DONORS, plate=PLATES)
    (finding,) = undeclared(read(path))
    assert "plate (3 values)" in finding.message
    assert undeclared(read(path, group_column="donor")) == []
    # Asked for by name, a plate is wider than a well and narrower than a donor.
    crossing(read(path, group_column="plate"), groups="plate")


def test_a_table_beside_a_file_of_cells_tells(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", CROPS[:, 0], metadata={"axes": "TYX"}, imagej=True)
    rows = [",".join(row) for row in zip(LABELS, PLATES, DONORS, strict=True)]
    (tmp_path / "x.csv").write_text("\n".join(["label,group,donor", *rows]))
    crossing(read(tmp_path / "x.tif"))


def test_arrays_and_datasets_tell(tmp_path: Path) -> None:
    arrays = {"images": CROPS, "labels": LABELS, "groups": PLATES, "donor": DONORS}
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, values in arrays.items():
            file[name] = values
    for path in (tmp_path / "x.npz", tmp_path / "x.h5"):
        cells = read(path)
        assert cells.groups is not None
        crossing(cells, groups="groups")
        other = read(path, groups="donor")
        assert other.groups is not None
        assert other.groups.tolist() == DONORS
        assert other.provenance.notes == ""
        none = read(path, groups="none")
        assert (none.groups, none.provenance.notes) == (None, "")
        with pytest.raises(DataError, match=r"donr.*mean.*donor"):
            read(path, groups="donr")


def test_groups_of_parts_are_joined(tmp_path: Path) -> None:
    parts = {}
    for name, part in (("train", slice(None, 20)), ("test", slice(20, None))):
        parts |= {f"{name}_images": CROPS[part], f"{name}_labels": np.array(LABELS)[part]}
        parts |= {f"{name}_plate": np.array(PLATES)[part], f"{name}_donor": np.array(DONORS)[part]}
    np.savez(tmp_path / "x.npz", **parts)  # type: ignore[arg-type]
    assert read(tmp_path / "x.npz").groups is None
    cells = read(tmp_path / "x.npz", groups="plate")
    assert cells.groups is not None
    assert cells.groups.tolist() == PLATES
    crossing(cells, groups="plate")
    del parts["test_plate"]
    np.savez(tmp_path / "x.npz", **parts)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no array test_plate"):
        read(tmp_path / "x.npz", groups="plate")


def test_an_anndata_tells_of_what_is_not_used() -> None:
    frame = pd.DataFrame({"kind": LABELS, "donor": DONORS, "plate": PLATES})
    frame.index = frame.index.astype(str)
    adata = anndata.AnnData(X=np.zeros((CELLS, 1), np.float32), obs=frame)
    adata.obsm["images"] = CROPS
    cells = CellDataset.from_anndata(adata, label_key="kind", group_key="plate")
    (finding,) = undeclared(cells)
    assert f"obs column donor (6 values) {CROSSES} of plate" in finding.message
    assert "group_key='donor'" in finding.message
    notes = CellDataset.from_anndata(adata, label_key="kind").provenance.notes.splitlines()
    assert [note.split(" (")[0] for note in notes] == ["obs column donor", "obs column plate"]
    assert all("is not used as groups" in note for note in notes)
    declared = CellDataset.from_anndata(adata, label_key="kind", group_key="donor")
    assert declared.provenance.notes == ""
