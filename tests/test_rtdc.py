"""Events of real-time deformability cytometry, in files that dclab writes."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.registry import detect, layout
from cellsearch.data.readers.rtdc import cut_about
from cellsearch.data.source import load_dataset
from cellsearch.data.unlabelled import cells_to_predict
from cellsearch.errors import CellsearchError, ConfigError, DataError, ReadError

dclab = pytest.importorskip("dclab")

PIXEL = 0.34
SHAPE = (80, 250)
RNG = np.random.default_rng(7)


def write(path: Path, *, events: int = 6, sample: str = "blood", **features: Any) -> np.ndarray:
    """A file of events, each a bright disc about its own centre; returns the images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = RNG.integers(90, 110, (events, *SHAPE)).astype(np.uint8)
    masks = np.zeros((events, *SHAPE), bool)
    rows, columns = 30 + np.arange(events) * 3.0, 60 + np.arange(events) * 20.0
    y, x = np.indices(SHAPE)
    for k in range(events):
        masks[k] = np.hypot(y - rows[k], x - columns[k]) <= 12
        images[k][masks[k]] = 180 + k
    held = {
        "image": images,
        "mask": masks,
        "pos_x": columns * PIXEL,
        "pos_y": rows * PIXEL,
        "size_x": np.full(events, 25 * PIXEL),
        "size_y": np.full(events, 25 * PIXEL),
    } | features
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with dclab.RTDCWriter(path, mode="reset") as writer:
            writer.store_metadata(
                {
                    "experiment": {"sample": sample, "run index": 1},
                    "imaging": {"pixel size": PIXEL, "roi size x": 250, "roi size y": 80},
                }
            )
            for name, values in held.items():
                if values is not None:
                    writer.store_feature(name, values)
    return images


def read(path: Path, **options: Any) -> CellDataset:
    return CellDataset.from_raw(layout("rtdc", options).read(path))


def test_a_folder_per_class_gives_crops_about_each_event(tmp_path: Path) -> None:
    made = {
        name: write(tmp_path / name / f"{name}-{k}.rtdc", sample=f"{name}{k}")
        for k in (1, 2)
        for name in ("lymphocyte", "neutrophil")
    }
    assert detect(tmp_path) == "rtdc"
    cells = load_dataset(tmp_path)
    assert cells.classes == ("lymphocyte", "neutrophil")
    assert cells.counts.tolist() == [12, 12]
    # 25 px and a quarter more, in steps of 8.
    assert cells.images.shape == (24, 1, 32, 32)
    assert cells.images.dtype == np.uint8
    assert cells.provenance.pixel_size_um == pytest.approx(PIXEL)
    assert cells.object_numbers.tolist() == [1, 2, 3, 4, 5, 6] * 4
    assert cells.sources[0] == "lymphocyte/lymphocyte-1.rtdc"
    assert cells.ids[1] == "lymphocyte/lymphocyte-1/2"
    assert "cut to 32x32 px about its centre" in cells.provenance.notes
    assert "option size takes another side" in cells.provenance.notes
    assert cells.groups is None
    last = cells.images[6:12, 0]
    for k in range(6):
        row, column = 30 + 3 * k - 16, 60 + 20 * k - 16
        expected = made["lymphocyte"][k, row : row + 32, column : column + 32]
        np.testing.assert_array_equal(last[k], expected)


def test_size_crop_and_masks_are_as_asked_for(tmp_path: Path) -> None:
    images = write(tmp_path / "x.rtdc")
    wide = read(tmp_path / "x.rtdc", size="40x48")
    np.testing.assert_array_equal(wide.images[1, 0], images[1, 13:53, 56:104])
    whole = read(tmp_path / "x.rtdc", crop="none")
    np.testing.assert_array_equal(whole.images[:, 0], images)
    assert read(tmp_path / "x.rtdc", fit="resize", size="20x62").images.shape == (6, 1, 20, 62)
    applied = read(tmp_path / "x.rtdc", masks="apply", crop="none").images[:, 0]
    for k in range(6):
        assert set(np.unique(applied[k])) == {int(np.median(images[k])), 180 + k}
    both = read(tmp_path / "x.rtdc", masks="channels", size=32)
    assert both.channels == ("image", "mask")
    np.testing.assert_array_equal(both.images[:, 1] > 0, both.images[:, 0] >= 180)


def test_an_event_at_the_edge_is_filled_up_which_a_note_tells(tmp_path: Path) -> None:
    corner = np.full(6, 4 * PIXEL)
    images = write(tmp_path / "x.rtdc", pos_x=corner, pos_y=corner)
    cells = read(tmp_path / "x.rtdc", size=32)
    np.testing.assert_array_equal(cells.images[:, 0, 12:, 12:], images[:, :20, :20])
    assert (cells.images[0, 0, :12] == cells.images[0, 0, 0, 0]).all()
    assert "6 of 6 crops reach beyond the image" in cells.provenance.notes
    planes = np.arange(48).reshape(1, 6, 8)
    cut, beyond = cut_about(planes, np.array([-9.0, 50.0]), (4, 4))
    assert beyond
    assert len(np.unique(cut)) == 1


def test_without_positions_the_contour_tells_the_centre(tmp_path: Path) -> None:
    images = write(tmp_path / "x.rtdc", pos_x=None, pos_y=None, size_x=None, size_y=None)
    cells = read(tmp_path / "x.rtdc")
    assert cells.images.shape == (6, 1, 32, 32)
    np.testing.assert_array_equal(cells.images[0, 0], images[0, 14:46, 44:76])
    write(tmp_path / "y.rtdc", pos_x=None, pos_y=None, size_x=None, size_y=None, mask=None)
    cells = read(tmp_path / "y.rtdc")
    assert cells.images.shape == (6, 1, 80, 80)
    assert "the files do not give the size of an event" in cells.provenance.notes


def test_a_feature_may_hold_the_class(tmp_path: Path) -> None:
    path = tmp_path / "x.rtdc"
    write(path, userdef1=np.array([0, 1, 2, 1, 0, 0.0]))
    cells = read(path, class_feature="userdef1")
    assert cells.classes == ("0", "1", "2")
    assert cells.labels.tolist() == [0, 1, 2, 1, 0, 0]
    named = read(path, class_feature="userdef1", class_names="1=red,0=white,2=white")
    assert named.classes == ("red", "white")
    assert named.labels.tolist() == [1, 0, 1, 0, 1, 1]
    with pytest.raises(DataError, match="no name for the label 2"):
        read(path, class_feature="userdef1", class_names="1=red,0=white")
    with pytest.raises(ConfigError, match=r"no feature 'userdef2'.*may hold classes: userdef1"):
        read(path, class_feature="userdef2")
    write(path, userdef1=np.array([0, 1, np.nan, 1, np.nan, 0.0]))
    with pytest.raises(ReadError, match=r"userdef1 is not a number for 2 of 6 events"):
        read(path, class_feature="userdef1")
    write(path, userdef1=np.array([0, 1, -1, 1, 0, 0.0]))
    with pytest.raises(DataError, match=r"labels of 1 of 6 cells are -1"):
        read(path, class_feature="userdef1")
    write(path, userdef1=np.array([0, 1, 0.5, 1, 0, 0]))
    with pytest.raises(ReadError, match=r"userdef1 holds fractions, such as 0\.5"):
        read(path, class_feature="userdef1")
    scores = np.array([0.9, 0.1, 0.2, 0.8, 0.7, 0.3])
    write(path, ml_score_neu=scores, ml_score_abc=1 - scores)
    cells = read(path, class_feature="ml_class")
    assert [cells.classes[k] for k in cells.labels] == ["neu", "abc", "abc", "neu", "neu", "abc"]


def test_a_table_labels_events_by_their_index(tmp_path: Path) -> None:
    write(tmp_path / "x.rtdc")
    (tmp_path / "x.csv").write_text("object_number,label\n2,a\n6,b\n3,a\n")
    cells = read(tmp_path / "x.rtdc")
    assert cells.object_numbers.tolist() == [2, 3, 6]
    assert [cells.classes[k] for k in cells.labels] == ["a", "a", "b"]


@pytest.mark.parametrize(("asked", "values"), [("file", 4), ("sample", 2)])
def test_groups_are_files_or_samples_where_asked_for(
    asked: str, values: int, tmp_path: Path
) -> None:
    for k in range(4):
        write(tmp_path / "ab"[k % 2] / f"{k}.rtdc", sample=f"donor {k // 2}")
    cells = read(tmp_path, groups=asked)
    assert cells.groups is not None
    assert len(set(cells.groups.tolist())) == values
    cells = read(tmp_path)
    (note,) = cells.group_notes
    assert note.text.startswith("sample (2 values) is not used as groups")
    assert 'groups="sample"' in str(note.message)


def test_events_are_predicted_at_the_size_of_a_card(tmp_path: Path) -> None:
    write(tmp_path / "x.rtdc")
    card = {"size": "48x48", "fit": "pad", "cut": True}
    for path in (tmp_path / "x.rtdc", tmp_path):
        cells = cells_to_predict(str(path), channels=["image"], defaults=card)
        assert cells.images.shape == (6, 1, 48, 48)
        assert cells.classes == ()


def test_a_folder_of_files_without_classes_is_known(tmp_path: Path) -> None:
    write(tmp_path / "x.rtdc")
    write(tmp_path / "y.rtdc")
    assert detect(tmp_path) == "rtdc"
    assert len(load_dataset(tmp_path)) == 12


def test_files_that_cannot_be_read_are_named_at_once_in_one_line(tmp_path: Path) -> None:
    import h5py

    write(tmp_path / "a" / "good.rtdc")
    write(tmp_path / "a" / "no-images.rtdc", image=None)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "text.rtdc").write_text("hello")
    (tmp_path / "b" / "cut.rtdc").write_bytes((tmp_path / "a" / "good.rtdc").read_bytes()[:3000])
    with h5py.File(tmp_path / "b" / "other.rtdc", "w") as file:
        file["images"] = [1, 2]
    write(tmp_path / "b" / "torn.rtdc", image=None)
    with h5py.File(tmp_path / "b" / "torn.rtdc", "a") as file:
        file["events"].create_dataset("image", (6, *SHAPE), "u1", chunks=(2, *SHAPE))[:4] = 7
    with pytest.raises(ReadError) as caught:
        read(tmp_path)
    message = str(caught.value)
    assert "5 unreadable files" in message
    assert "a/no-images.rtdc: it holds no images" in message
    assert "b/text.rtdc: is not an HDF5 file, or truncated" in message
    assert "b/cut.rtdc: is not an HDF5 file, or truncated" in message
    assert "b/other.rtdc: no .rtdc file: it holds no events, but images" in message
    assert "b/torn.rtdc: its images are not whole" in message
    assert "1 of 3 chunks were never written (cells 4 to 5 of 6)" in message
    assert "\n" not in message


def test_a_file_that_is_still_recorded_is_called_so(tmp_path: Path) -> None:
    write(tmp_path / "x.rtdc")
    hold = "import sys, h5py; f = h5py.File(sys.argv[1], 'a'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "x.rtdc")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(ReadError, match=r"x\.rtdc: is open in another program; close it"):
            read(tmp_path / "x.rtdc")
        other.kill()


def test_images_that_lie_in_another_file_are_read_or_missed_by_name(tmp_path: Path) -> None:
    images = write(tmp_path / "images.rtdc")
    path = tmp_path / "x.rtdc"
    write(path, image=None, mask=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with dclab.RTDCWriter(path, mode="append") as writer:
            writer.store_basin("images", "file", "hdf5", ["images.rtdc"], ["image"], verify=False)
    np.testing.assert_array_equal(read(path, crop="none").images[:, 0], images)
    (tmp_path / "images.rtdc").unlink()
    with pytest.raises(ReadError, match=r"holds no images; they lie in .*images\.rtdc.*beside it"):
        read(path)


def test_without_dclab_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "x.rtdc")
    monkeypatch.setitem(sys.modules, "dclab", None)
    with pytest.raises(
        CellsearchError, match=r"^\.rtdc files need the extra 'rtdc': pip install 'cellsearch\[rtdc"
    ):
        read(tmp_path / "x.rtdc")
