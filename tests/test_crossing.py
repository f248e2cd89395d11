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

from cellsearch.audit.parts import groups_together
from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import draw_splits
from cellsearch.errors import DataError
from cellsearch.scan import first_look

from table_cases import CELLS, CROPS, DONORS, LABELS, read, table, undeclared

# Three plates, each of which holds cells of every donor.
PLATES = [f"p{k % 3}" for k in range(CELLS)]


CROSSES = "crosses the groups"


def crossing(cells: CellDataset, donors: str = "donor", groups: str = "group") -> None:
    """One finding says so, and how it is mended."""
    (finding,) = undeclared(cells)
    assert finding.severity == "warning"
    assert f"{donors} (6 values) {CROSSES} of {groups}: unless each of them" in str(finding.message)
    assert str(finding.message).endswith(f'="{donors}", in place of {groups}')


def test_a_table_tells(tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS, group=PLATES, donor=DONORS)
    cells = read(path)
    assert cells.groups is not None
    assert cells.groups.tolist() == PLATES
    crossing(cells)
    assert sum(CROSSES in str(note) for note in first_look(path).layout.notes) == 1
    assert undeclared(read(path, group_column="donor")) == []
    assert CROSSES in cells.provenance.notes
    assert "group_column" not in cells.provenance.notes


@pytest.mark.parametrize("taken", ["plate", "Well", "centre"])
def test_groups_that_were_asked_for_by_name_are_held_against_donors(
    taken: str, tmp_path: Path
) -> None:
    path = table(tmp_path, label=LABELS, donor=DONORS, **{taken: PLATES})
    crossing(read(path, group_column=taken), groups=taken)


def test_the_audit_tells(tmp_path: Path) -> None:
    cells = read(table(tmp_path, label=LABELS, group=PLATES, donor=DONORS))
    splits = draw_splits(cells, folds=2, seed=0, holdout=0.34)
    check = groups_together(SimpleNamespace(cells=cells, splits=splits))  # type: ignore[arg-type]
    assert check.status == "passed"
    assert f"3 groups; column donor (6 values) {CROSSES} of group" in check.detail


def test_what_is_no_leak_is_not_told(tmp_path: Path) -> None:
    # Wells, days and plates bear the same names for each donor, and donors lie within centres.
    centres = [f"c{int(donor[1]) // 2}" for donor in DONORS]
    path = table(tmp_path, label=LABELS, group=DONORS, well=PLATES, day=PLATES, centre=centres)
    assert undeclared(read(path)) == []
    (tmp_path / "other").mkdir()
    path = table(tmp_path / "other", label=LABELS, group=centres, donor=DONORS)
    assert undeclared(read(path)) == []


def test_a_blank_is_no_donor_and_no_group(tmp_path: Path) -> None:
    centres = [f"c{int(donor[1]) // 2}" for donor in DONORS]
    donors = ["", *DONORS[1:-1], "NA"]
    assert undeclared(read(table(tmp_path, label=LABELS, group=centres, donor=donors))) == []


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
        for word in ("none", "None", ""):
            none = read(path, groups=word)
            assert (none.groups, none.provenance.notes) == (None, "")
        with pytest.raises(DataError, match=r"donr.*mean.*donor"):
            read(path, groups="donr")


def parts(**arrays: object) -> dict[str, np.ndarray]:
    """20 training cells and 16 test cells of images, labels and these."""
    found = {}
    for name, part in (("train", slice(None, 20)), ("test", slice(20, None))):
        for key, values in {"images": CROPS, "labels": LABELS, **arrays}.items():
            found[f"{name}_{key}"] = np.asarray(values)[part]
    return found


def test_groups_of_parts_are_joined(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **parts(plate=PLATES, donor=DONORS))
    assert read(tmp_path / "x.npz").groups is None
    cells = read(tmp_path / "x.npz", groups="plate")
    assert cells.groups is not None
    assert cells.groups.tolist() == PLATES
    crossing(cells, groups="plate")
    with pytest.raises(
        DataError, match=r"no array train_dnor, test_dnor: .* of each part.*mean 'donor'"
    ):
        read(tmp_path / "x.npz", groups="dnor")


@pytest.mark.parametrize("asked", [{}, {"groups": "groups"}])
def test_groups_that_a_part_lacks_or_that_do_not_fit_it_are_refused(
    asked: dict[str, str], tmp_path: Path
) -> None:
    whole = parts(groups=DONORS)
    alone = {name: values for name, values in whole.items() if name != "test_groups"}
    np.savez(tmp_path / "alone.npz", **alone)
    with pytest.raises(DataError, match=r"no array test_groups: .* of each part, or none"):
        read(tmp_path / "alone.npz", **asked)
    assert read(tmp_path / "alone.npz", groups="none").groups is None
    # As many as there are cells in all.
    moved = {"train_groups": np.array(DONORS[:25]), "test_groups": np.array(DONORS[25:])}
    np.savez(tmp_path / "moved.npz", **(whole | moved))
    with pytest.raises(DataError, match=r"train_groups of shape \(25,\) for 20 images"):
        read(tmp_path / "moved.npz", **asked)
    objects = np.array(DONORS[20:], dtype=object)
    np.savez(tmp_path / "objects.npz", **(whole | {"test_groups": objects}))
    with pytest.raises(DataError, match=r"test_groups holds Python objects; save it as texts"):
        read(tmp_path / "objects.npz", **asked)


def test_numbers_of_one_part_and_texts_of_another_are_the_same_donors(tmp_path: Path) -> None:
    numbers = [int(donor[1]) for donor in DONORS]
    whole = parts(groups=np.array(numbers, float))
    whole["test_groups"] = np.array(list(map(str, numbers[20:])))
    np.savez(tmp_path / "x.npz", **whole)
    groups = read(tmp_path / "x.npz").groups
    assert groups is not None
    assert groups.tolist() == list(map(str, numbers))


def of_obs(**columns: object) -> anndata.AnnData:
    frame = pd.DataFrame(columns)
    frame.index = frame.index.astype(str)
    adata = anndata.AnnData(X=np.zeros((CELLS, 1), np.float32), obs=frame)
    adata.obsm["images"] = CROPS
    return adata


def test_an_anndata_tells_of_what_is_not_used() -> None:
    adata = of_obs(kind=LABELS, donor=DONORS, plate=PLATES)
    cells = CellDataset.from_anndata(adata, label_key="kind", group_key="plate")
    (finding,) = undeclared(cells)
    assert f"obs column donor (6 values) {CROSSES} of plate" in str(finding.message)
    assert 'group_key="donor"' in str(finding.message)
    notes = CellDataset.from_anndata(adata, label_key="kind").provenance.notes.splitlines()
    assert [note.split(" (")[0] for note in notes] == ["obs column donor", "obs column plate"]
    assert all("is not used as groups" in note for note in notes)
    declared = CellDataset.from_anndata(adata, label_key="kind", group_key="donor")
    assert declared.provenance.notes == ""


def test_two_columns_of_one_name_are_nobodys_donors() -> None:
    adata = of_obs(kind=LABELS, donor=DONORS, plate=PLATES)
    adata.obs.columns = ["kind", "donor", "donor"]
    assert CellDataset.from_anndata(adata, label_key="kind").provenance.notes == ""
