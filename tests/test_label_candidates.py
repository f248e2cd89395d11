"""A table whose class is called otherwise says which columns could be the class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.label_candidates import label_candidates
from cellsearch.data.readers.registry import layout
from cellsearch.errors import ConfigError
from cellsearch.util.wording import as_option

from command_cases import cellsearch

CELLS = 24
COLUMNS = {
    "plate": [f"p{k % 3}" for k in range(CELLS)],
    "uid": [f"u{k}" for k in range(CELLS)],
    "area": [f"{100 + k % 4}.5" for k in range(CELLS)],
    "area_eu": [f"{100 + k % 4},5" for k in range(CELLS)],
    "key": [f"6F89C55C-7808-4136-82E4-E066F8E3CB1{k % 2}" for k in range(CELLS)],
    "score": [str(k % 2) for k in range(CELLS)],
    "remark": ["ok"] * CELLS,
    "source_split": ["train" if k % 4 else "test" for k in range(CELLS)],
    "mitosis": ["G1" if k % 3 else "S" for k in range(CELLS)],
    "cell state": ["live" if k % 6 else "" for k in range(CELLS - 2)] + ["dead"] * 2,
}


def table(folder: Path, **columns: list[str]) -> Path:
    (folder / "images").mkdir()
    for k in range(CELLS):
        crop = np.random.default_rng(k).integers(0, 255, (10, 10), np.uint8)
        Image.fromarray(crop).save(folder / "images" / f"{k}.png")
    lines = ["path;" + ";".join(columns)]
    lines += [
        f"images/{k}.png;" + ";".join(row)
        for k, row in enumerate(zip(*columns.values(), strict=True))
    ]
    (folder / "T.csv").write_text("\n".join(lines))
    return folder / "T.csv"


def read(path: Path, **options: Any) -> CellDataset:
    return CellDataset.from_raw(layout("table", options).read(path))


def test_columns_that_look_like_a_class_come_first() -> None:
    found = label_candidates(COLUMNS)
    assert [each.column for each in found] == ["cell state", "mitosis", "score", "plate"]
    assert [each.group for each in found] == [False, False, False, True]
    assert found[1].counts == (("G1", 16), ("S", 8))
    assert found[1].describe() == "mitosis (G1 16, S 8)"
    assert found[0].describe() == "cell state (live 18, dead 2; 4 blank)"


def test_the_refusal_lists_them_with_the_remedy(tmp_path: Path) -> None:
    path = table(tmp_path, **COLUMNS)
    with pytest.raises(ConfigError) as caught:
        read(path)
    text = str(caught.value)
    assert "no column is called as the class: it could be cell state (" in text
    assert (
        "mitosis (G1 16, S 8), score (0 12, 1 12); less likely, because groups have such names"
        in text
    )
    assert 'plate (p0 8, p1 8, p2 8); choose with label_column="cell state"' in text
    assert "--option 'label_column=cell state'" in caught.value.message.worded(as_option)
    assert read(path, label_column="mitosis").counts.tolist() == [16, 8]


def test_several_that_are_called_so_are_shown_with_their_values(tmp_path: Path) -> None:
    path = table(tmp_path, type=COLUMNS["mitosis"], phase=COLUMNS["score"])
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert "columns type, phase could be the class: it could be type (G1 16, S 8), phase (0 12" in (
        str(caught.value)
    )


def test_a_table_without_any_says_so(tmp_path: Path) -> None:
    path = table(tmp_path, uid=COLUMNS["uid"], area=COLUMNS["area"])
    with pytest.raises(ConfigError, match="none has a few values that are of several cells each"):
        read(path)


def test_a_table_beside_a_file_of_cells_lists_them_too(tmp_path: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (4, 10, 10), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", crops, metadata={"axes": "TYX"}, imagej=True)
    (tmp_path / "x.csv").write_text("object_number,kind\n0,a\n1,b\n2,a\n3,b\n")
    with pytest.raises(ConfigError, match=r'it could be kind \(a 2, b 2\); .*label_column="kind"'):
        layout("ome_tiff", {}).read(tmp_path / "x.tif")


@pytest.mark.parametrize("whole", [False, True])
def test_init_lists_them_in_its_own_words(
    whole: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    path = table(tmp_path, **COLUMNS)
    for image in (tmp_path / "images").iterdir():
        image.rename(tmp_path / image.name)
    path.write_text(path.read_text().replace("images/", ""))
    monkeypatch.chdir(tmp_path)
    _, out, error = cellsearch(
        capsys, monkeypatch, "init", tmp_path if whole else path, "--no-estimate"
    )
    told = " ".join((out + error).split())
    assert "it could be cell state (live 18, dead 2; 4 blank), mitosis (G1 16, S 8)" in told
    assert "--option 'label_column=cell state'" in told


def test_a_column_of_images_is_offered_as_the_path(tmp_path: Path) -> None:
    path = table(tmp_path, type=COLUMNS["mitosis"])
    path.write_text(path.read_text().replace("path;", "FileName_DNA;", 1))
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert str(caught.value) == (
        "T.csv: no column is called as the image's path: FileName_DNA could be it: give "
        'path_column="FileName_DNA"; columns: FileName_DNA, type'
    )
    assert read(path, path_column="FileName_DNA").counts.tolist() == [16, 8]
