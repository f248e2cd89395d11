"""What a library fills in for data that are not there is found and refused, never read as zeros."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers.registry import layout
from cellsearch.data.source import load_dataset
from cellsearch.errors import DataError, ReadError

CROPS = np.random.default_rng(3).integers(1, 4096, (8, 20, 18)).astype(np.uint16)
LABELS = list("aabbaabb")


def read(path: Path, **options: Any) -> CellDataset:
    return CellDataset.from_raw(layout("hdf5", options).read(path))


def source(path: Path, pixels: np.ndarray, name: str = "d") -> Path:
    with h5py.File(path, "w") as file:
        file[name] = pixels
    return path


def virtual(path: Path, *, sources: tuple[str, ...] = ("one.h5", "two.h5"), cells: int = 8) -> Path:
    made = h5py.VirtualLayout((cells, 20, 18), "u2")
    for number, name in enumerate(sources):
        made[number * 4 : number * 4 + 4] = h5py.VirtualSource(name, "d", (4, 20, 18))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("images", made)
        file["labels"] = (LABELS * 2)[:cells]
    return path


def test_a_virtual_dataset_with_all_its_sources_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source(tmp_path / "one.h5", CROPS[:4])
    source(tmp_path / "two.h5", CROPS[4:])
    path = virtual(tmp_path / "x.h5")
    np.testing.assert_array_equal(read(path).images[:, 0], CROPS)
    # Sources are found beside the file, wherever the program was started.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(read(path).images[:, 0], CROPS)


def test_a_virtual_dataset_whose_source_file_is_gone_is_refused(tmp_path: Path) -> None:
    source(tmp_path / "one.h5", CROPS[:4])
    path = virtual(tmp_path / "x.h5")
    with pytest.raises(
        ReadError,
        match=r"images is not whole, .* read as 0: cells 4 to 7 of 8: dataset d of two\.h5 is its "
        r"source, and there is no such file; bring back",
    ) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_every_missing_source_is_named_at_once(tmp_path: Path) -> None:
    path = virtual(tmp_path / "x.h5")
    with pytest.raises(ReadError, match=r"one\.h5 .*two\.h5 "):
        read(path)


def test_a_source_without_its_dataset_is_refused(tmp_path: Path) -> None:
    source(tmp_path / "one.h5", CROPS[:4])
    source(tmp_path / "two.h5", CROPS[4:], name="other")
    with pytest.raises(ReadError, match=r"d of two\.h5 is its source, and the file holds no such"):
        read(virtual(tmp_path / "x.h5"))


def test_a_source_that_became_smaller_is_refused(tmp_path: Path) -> None:
    source(tmp_path / "one.h5", CROPS[:4])
    source(tmp_path / "two.h5", CROPS[4:7])
    with pytest.raises(ReadError, match=r"two\.h5 is its source and has shape \(3, 20, 18\), too"):
        read(virtual(tmp_path / "x.h5"))


def test_a_part_of_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    source(tmp_path / "one.h5", CROPS)
    made = h5py.VirtualLayout((4, 20, 18), "u2")
    made[:] = h5py.VirtualSource("one.h5", "d", (8, 20, 18))[4:8]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_virtual_dataset("images", made)
        file["labels"] = LABELS[:4]
    np.testing.assert_array_equal(read(tmp_path / "x.h5").images[:, 0], CROPS[4:])
    source(tmp_path / "one.h5", CROPS[:6])
    with pytest.raises(ReadError, match=r"has shape \(6, 20, 18\), too small"):
        read(tmp_path / "x.h5")


def test_cells_of_a_virtual_dataset_that_come_from_no_source_are_refused(tmp_path: Path) -> None:
    source(tmp_path / "one.h5", CROPS[:4])
    source(tmp_path / "two.h5", CROPS[4:])
    path = virtual(tmp_path / "x.h5", cells=12)
    with pytest.raises(ReadError, match=r"1,440 of its 4,320 values come from no source"):
        read(path)


def test_a_source_that_is_itself_not_whole_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file.create_dataset("d", (4, 20, 18), "u2", chunks=(1, 20, 18))[:3] = CROPS[4:7]
    source(tmp_path / "one.h5", CROPS[:4])
    with pytest.raises(ReadError, match=r"not whole itself: 1 of 4 chunks were never .*cells 3 of"):
        read(virtual(tmp_path / "x.h5"))


@pytest.mark.parametrize("gone", [None, 0, 1])
def test_sources_numbered_by_a_pattern_must_all_be_there(gone: int | None, tmp_path: Path) -> None:
    for number in range(4):
        source(tmp_path / f"p-{number}.h5", CROPS[number * 2 : number * 2 + 2])
    endless = h5py.h5s.UNLIMITED
    space = h5py.h5s.create_simple((8, 20, 18), (endless, 20, 18))
    space.select_hyperslab((0, 0, 0), (endless, 1, 1), (2, 1, 1), (2, 20, 18))
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_virtual(space, b"p-%b.h5", b"d", h5py.h5s.create_simple((2, 20, 18)))
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        shape = h5py.h5s.create_simple((8, 20, 18), (endless, 20, 18))
        h5py.h5d.create(file.id, b"images", h5py.h5t.NATIVE_UINT16, shape, made)
        # As many as HDF5 gives once the file is gone: it ends there without a word.
        file["labels"] = LABELS if gone is None else LABELS[: 2 * gone]
    if gone is None:
        np.testing.assert_array_equal(read(tmp_path / "x.h5").images[:, 0], CROPS)
        return
    (tmp_path / f"p-{gone}.h5").unlink()
    with pytest.raises(ReadError, match=rf"p-{gone}\.h5 is a source, and there is no such f"):
        read(tmp_path / "x.h5")


@pytest.mark.parametrize("name", ["images", "labels", "groups", "classes"])
def test_chunks_that_were_never_written_are_refused_in_every_dataset(
    name: str, tmp_path: Path
) -> None:
    given: dict[str, np.ndarray] = {
        "images": CROPS,
        "labels": np.array([1, 0, 1, 0, 1, 0, 1, 1]),
        "groups": np.array([1, 1, 2, 2, 3, 3, 4, 4]),
        "classes": np.array([b"x", b"y"]),
    }
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for key, values in given.items():
            step = 1 if key == "classes" else 2
            made = file.create_dataset(
                key, values.shape, values.dtype, chunks=(step, *values.shape[1:])
            )
            made[...] = values
    np.testing.assert_array_equal(read(tmp_path / "x.h5").images[:, 0], CROPS)
    with h5py.File(tmp_path / "x.h5", "a") as file:
        values = given[name]
        del file[name]
        step = 1 if name == "classes" else 2
        made = file.create_dataset(
            name, values.shape, values.dtype, chunks=(step, *values.shape[1:])
        )
        made[: len(values) // 2] = values[: len(values) // 2]
    chunks = "1 of 2" if name == "classes" else "2 of 4"
    with pytest.raises(ReadError, match=rf"dataset {name} is not whole, .*: {chunks} chunks were"):
        read(tmp_path / "x.h5")


def test_a_chunk_written_as_zeros_is_no_gap(tmp_path: Path) -> None:
    pixels = CROPS.copy()
    pixels[2:4] = 0
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", data=pixels, chunks=(2, 20, 18), compression="gzip")
        file["labels"] = LABELS
    np.testing.assert_array_equal(read(tmp_path / "x.h5").images[:, 0], pixels)


def test_a_dataset_that_was_made_and_never_written_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", (8, 20, 18), "u2")
        file["labels"] = LABELS
    with pytest.raises(ReadError, match="read as 0: it was made and never written"):
        read(tmp_path / "x.h5")


def raw(path: Path, folder: Path) -> Path:
    with h5py.File(path, "w") as file:
        # HDF5 itself seeks raw files where the program was started.
        outside = [("pixels.raw", 0, CROPS.nbytes)]
        made = file.create_dataset(
            "images", CROPS.shape, "u2", external=outside, efile_prefix=str(folder)
        )
        made[...] = CROPS
        file["labels"] = LABELS
    return path


def test_raw_files_beside_are_read_whole_or_refused(tmp_path: Path) -> None:
    path = raw(tmp_path / "x.h5", tmp_path)
    np.testing.assert_array_equal(read(path).images[:, 0], CROPS)
    os.truncate(tmp_path / "pixels.raw", CROPS.nbytes - 700)
    with pytest.raises(ReadError, match=r"pixels\.raw, which is too short: 5,060 bytes of 5,760"):
        read(path)
    (tmp_path / "pixels.raw").unlink()
    with pytest.raises(ReadError, match=r"raw file pixels\.raw, and there is no such file"):
        read(path)


def hole_of(path: Path, start: int, length: int) -> None:
    """Give a part of a file back to the disk, or skip where the file system keeps no holes."""
    if not hasattr(os, "SEEK_HOLE"):
        pytest.skip("this system shows no holes")
    data = path.read_bytes()
    with path.open("wb") as file:
        file.write(data[:start])
        file.seek(start + length)
        file.write(data[start + length :])
    with path.open("rb") as file:
        if os.lseek(file.fileno(), 0, os.SEEK_HOLE) >= len(data):
            pytest.skip("this file system keeps no holes")


@pytest.mark.parametrize("chunks", [None, (1, 128, 128)])
def test_cells_in_a_hole_of_the_file_are_refused(
    chunks: tuple[int, ...] | None, tmp_path: Path
) -> None:
    crops = np.random.default_rng(0).integers(1, 4096, (6, 128, 128)).astype(np.uint16)
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("images", data=crops, chunks=chunks)
        file["labels"] = LABELS[:6]
        start = made.id.get_chunk_info(2).byte_offset if chunks else made.id.get_offset() + 65536
    np.testing.assert_array_equal(read(path).images[:, 0], crops)
    hole_of(path, start - start % 4096, 32768 + 4096)
    with pytest.raises(ReadError, match=r"never written .*(cells 2 of 6|hole)"):
        read(path)


def test_external_links_are_read_and_one_that_dangles_names_both_files(tmp_path: Path) -> None:
    source(tmp_path / "pixels.h5", CROPS)
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["images"] = h5py.ExternalLink("pixels.h5", "/d")
        file["labels"] = h5py.SoftLink("/notes/kind")
        file["notes/kind"] = LABELS
        file["notes/up"] = h5py.SoftLink("/")
    cells = read(path)
    np.testing.assert_array_equal(cells.images[:, 0], CROPS)
    assert cells.classes == ("a", "b")
    (tmp_path / "pixels.h5").rename(tmp_path / "moved.h5")
    with pytest.raises(
        ReadError, match=r"x\.h5: images is a link to d in pixels\.h5, and there is no such file"
    ):
        read(path)
    source(tmp_path / "pixels.h5", CROPS, name="other")
    with pytest.raises(ReadError, match=r"a link to d in pixels\.h5, and that file holds no such"):
        read(path)
    (tmp_path / "pixels.h5").write_text("hello")
    with pytest.raises(ReadError, match=r"pixels\.h5, and that file is not an HDF5 file"):
        read(path)


def test_labels_behind_a_link_that_dangles_are_not_taken_as_none(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["images"] = CROPS
        file["labels"] = h5py.SoftLink("/gone")
        file["labels_loop"] = h5py.SoftLink("/labels_loop")
    with pytest.raises(ReadError, match=r"x\.h5: labels is a link to /gone, which is not there"):
        read(path)


def test_a_linked_file_that_changes_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLSEARCH_CACHE", str(tmp_path / "cache"))
    source(tmp_path / "one.h5", CROPS[:4])
    source(tmp_path / "two.h5", CROPS[4:])
    path = virtual(tmp_path / "x.h5")
    np.testing.assert_array_equal(load_dataset(path).images[:, 0], CROPS)
    source(tmp_path / "two.h5", CROPS[4:] + 1)
    np.testing.assert_array_equal(load_dataset(path).images[4:, 0], CROPS[4:] + 1)
    (tmp_path / "two.h5").unlink()
    with pytest.raises(ReadError, match=r"two\.h5 is its source, and there is no such file"):
        load_dataset(path)


HOLD = """
import sys, h5py
mode, path = sys.argv[1:]
file = h5py.File(path, "a" if mode == "append" else "w", libver="latest")
if mode == "swmr":
    file.create_dataset("images", (4, 9, 9), "u2", maxshape=(None, 9, 9), chunks=(1, 9, 9))
    file.swmr_mode = True
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["append", "swmr", "link", "source"])
def test_a_file_that_another_program_holds_is_called_so(mode: str, tmp_path: Path) -> None:
    source(tmp_path / "one.h5", CROPS)
    path = tmp_path / "one.h5"
    if mode == "link":
        path = tmp_path / "x.h5"
        with h5py.File(path, "w") as file:
            file["images"] = h5py.ExternalLink("one.h5", "/d")
    if mode == "source":
        source(tmp_path / "two.h5", CROPS[4:])
        path = virtual(tmp_path / "x.h5")
    held = "swmr" if mode == "swmr" else "append"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, held, str(tmp_path / "one.h5")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        words = "writing in another" if mode == "swmr" else "in another program; close it there"
        with pytest.raises(ReadError, match=rf"one\.h5.* is open (for )?{words}") as caught:
            read(path)
        assert "\n" not in str(caught.value)
        other.kill()


def test_pixels_that_are_no_numbers_and_columns_without_values_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        ragged = file.create_dataset("images", (3, 1, 1), h5py.vlen_dtype(np.uint8))
        for k in range(3):
            ragged[k, 0, 0] = np.arange(k + 2)
    with pytest.raises(DataError, match="dataset images of object; expected numbers"):
        read(tmp_path / "x.h5")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file["images"] = CROPS
        file["labels"] = h5py.Empty("i4")
    with pytest.raises(DataError, match=r"dataset labels of shape \(\); expected one value a cell"):
        read(tmp_path / "y.h5")


def packed(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def rewritten(path: Path, name: str, data: bytes) -> Path:
    """The archive with one member of other bytes; every checksum is right."""
    with zipfile.ZipFile(path) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for one, held in (members | {name: data}).items():
            archive.writestr(one, held)
    return path


def member(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def read_npz(path: Path, **options: Any) -> CellDataset:
    return CellDataset.from_raw(layout("npz", options).read(path))


@pytest.mark.parametrize("name", ["images", "labels", "ids"])
@pytest.mark.parametrize("change", [-20, 20])
def test_an_array_that_ends_before_or_after_its_header_says_is_refused(
    name: str, change: int, tmp_path: Path
) -> None:
    path = packed(tmp_path / "x.npz", images=CROPS, labels=LABELS, ids=np.arange(8))
    np.testing.assert_array_equal(read_npz(path).images[:, 0], CROPS)
    data = member(path, f"{name}.npy")
    rewritten(path, f"{name}.npy", data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(
        ReadError, match=rf"truncated \(array {name} has .* bytes, its header declares"
    ):
        read_npz(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_bytes_that_do_not_match_their_checksum_are_refused(save: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    save(path, images=CROPS, labels=LABELS)
    data = bytearray(path.read_bytes())
    start = data.index(b"images.npy") + 2000
    for offset in range(40):
        data[start + offset] = 0
    path.write_bytes(data)
    with pytest.raises(ReadError, match="of plain arrays, or truncated"):
        read_npz(path)


@pytest.mark.parametrize("keep", [10, 100, 3000])
def test_a_cut_archive_is_refused_in_one_line(keep: int, tmp_path: Path) -> None:
    path = packed(tmp_path / "x.npz", images=CROPS, labels=LABELS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ReadError, match="of plain arrays, or truncated") as caught:
        read_npz(path)
    assert "\n" not in str(caught.value)


def test_arrays_of_objects_are_all_named_with_their_shapes_and_remedies(tmp_path: Path) -> None:
    ragged = np.empty(3, object)
    ragged[:] = [np.zeros((k + 3, 4)) for k in range(3)]
    labels = np.array(["a", "b", "a"], object)
    path = packed(tmp_path / "x.npz", images=ragged, labels=labels)
    with pytest.raises(DataError) as caught:
        read_npz(path)
    message = str(caught.value)
    assert "images holds Python objects; crops of several sizes: " in message
    assert "np.stack(crops)" in message
    assert "folder per class" in message
    assert "labels holds Python objects; save it as texts: " in message
    assert "np.array(labels, dtype=str)" in message
    assert message.count("(its shape is (3,))") == 2
    assert "\n" not in message


def test_pixels_of_objects_and_parts_of_objects_are_named(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.npz", images=CROPS.astype(object), labels=LABELS)
    with pytest.raises(DataError, match=r"images holds .*images\.astype.*is \(8, 20, 18\)"):
        read_npz(path)
    path = packed(
        tmp_path / "y.npz",
        train_images=CROPS,
        train_labels=np.arange(8) % 2,
        val_images=CROPS,
        val_labels=np.array(LABELS, object),
    )
    with pytest.raises(DataError, match=r"val_labels holds Python objects"):
        read_npz(path)
    # Nobody reads it, so it is no matter.
    path = packed(tmp_path / "z.npz", images=CROPS, labels=LABELS, notes=np.array([{}], object))
    np.testing.assert_array_equal(read_npz(path).images[:, 0], CROPS)
    path = packed(tmp_path / "w.npz", images=CROPS, labels=LABELS, ids=np.array([*"abcdefgh"], "O"))
    with pytest.raises(DataError, match=r"ids holds Python objects.*is \(8,\)"):
        read_npz(path)


def zarr_of(path: Path, pixels: np.ndarray, *, version: int = 3, **how: Any) -> Path:
    """An OME-Zarr of cells (t, c, y, x) with a table of labels beside it."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w", zarr_format=version)
    made = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, **how)
    made[...] = pixels
    facts = {"multiscales": [{"axes": list("tcyx"), "datasets": [{"path": "0"}]}]}
    group.attrs.update({"ome": facts} if version == 3 else facts)
    rows = "".join(f"{k},{LABELS[k]}\n" for k in range(len(pixels)))
    path.with_suffix(".csv").write_text(f"number,label\n{rows}")
    return path


def read_zarr(path: Path, **options: Any) -> CellDataset:
    return CellDataset.from_raw(layout("ome_zarr", options).read(path))


def chunk_files(path: Path) -> list[Path]:
    kept = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
    inside = (path / "0").rglob("*")
    return sorted(file for file in inside if file.is_file() and file.name not in kept)


PLANES = np.random.default_rng(4).integers(1, 4096, (8, 2, 10, 12)).astype(np.uint16)
WAYS = {
    "v3": {"chunks": (1, 2, 10, 12)},
    "v2": {"chunks": (1, 2, 10, 12), "version": 2},
    "shards": {"chunks": (1, 2, 10, 12), "shards": (2, 2, 10, 12)},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["uint16", "float32", ">u2"])
def test_cells_whose_chunks_are_gone_are_refused_by_number(
    way: str, dtype: str, tmp_path: Path
) -> None:
    if dtype == ">u2" and way != "v2":
        pytest.skip("byte order is a codec of version 3")
    path = zarr_of(tmp_path / "x.zarr", PLANES.astype(dtype), **WAYS[way])
    np.testing.assert_array_equal(read_zarr(path).images, PLANES)
    chunk_files(path)[1].unlink()
    cells = "2 to 3" if way == "shards" else "1"
    with pytest.raises(
        ReadError, match=rf"x\.zarr: nothing was written of cells {cells} of 8: .* read as 0"
    ):
        read_zarr(path)
    rows = (tmp_path / "x.csv").read_text().splitlines(keepends=True)
    gone = {"1"} if cells == "1" else {"2", "3"}
    (tmp_path / "x.csv").write_text("".join(r for r in rows if r.split(",")[0] not in gone))
    left = read_zarr(path)
    assert left.object_numbers.tolist() == [k for k in range(8) if str(k) not in gone]
    np.testing.assert_array_equal(left.images, PLANES[left.object_numbers])


def test_a_chunk_that_is_missing_inside_a_shard_is_seen(tmp_path: Path) -> None:
    pixels = PLANES.copy()
    pixels[5] = 0
    path = zarr_of(tmp_path / "x.zarr", pixels, **WAYS["shards"])
    with pytest.raises(ReadError, match=r"nothing was written of cells 5 of 8"):
        read_zarr(path)


def test_missing_parts_are_refused_unless_the_fill_value_is_the_background(tmp_path: Path) -> None:
    path = zarr_of(tmp_path / "x.zarr", PLANES, chunks=(1, 1, 10, 12))
    chunk_files(path)[3].unlink()
    with pytest.raises(ReadError, match=r"a part alone was written of cells 1 of 8"):
        read_zarr(path)
    masked = PLANES.copy()
    masked[:, :, :3] = 0
    masked[6, 1] = 0
    path = zarr_of(tmp_path / "y.zarr", masked, chunks=(1, 1, 10, 12))
    assert len(chunk_files(path)) == 15
    cells = read_zarr(path)
    np.testing.assert_array_equal(cells.images, masked)
    assert "chunks are missing in 1 of 8 cells and read as 0" in cells.provenance.notes


def test_a_fill_value_of_nan_is_called_missing(tmp_path: Path) -> None:
    path = zarr_of(
        tmp_path / "x.zarr", PLANES.astype(np.float32), chunks=(1, 2, 10, 12), fill_value=np.nan
    )
    np.testing.assert_array_equal(read_zarr(path).images, PLANES)
    chunk_files(path)[4].unlink()
    with pytest.raises(ReadError, match=r"nothing was written of cells 4 of 8.*read as nan"):
        read_zarr(path)


def test_open_datasets_given_as_arrays_are_held_to_the_same(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    source(tmp_path / "one.h5", CROPS[:4])
    source(tmp_path / "two.h5", CROPS[4:])
    path = virtual(tmp_path / "x.h5")
    with h5py.File(path) as file:
        cells = CellDataset.from_arrays(file["images"], LABELS)
        np.testing.assert_array_equal(cells.images[:, 0], CROPS)
    (tmp_path / "two.h5").unlink()
    with h5py.File(path) as file, pytest.raises(DataError, match=r"incomplete.*two\.h5 is its sou"):
        CellDataset.from_arrays(file["images"], LABELS)
    store = zarr_of(tmp_path / "x.zarr", PLANES, chunks=(1, 2, 10, 12))
    array = zarr.open_group(store, mode="r")["0"]
    np.testing.assert_array_equal(CellDataset.from_arrays(array, LABELS).images, PLANES)
    chunk_files(store)[2].unlink()
    with pytest.raises(DataError, match=r"chunks of cells 2 are missing and would read as 0"):
        CellDataset.from_arrays(array, LABELS)


@pytest.mark.parametrize("reader", ["npz", "hdf5", "ome_zarr", "arrays"])
def test_backgrounds_of_nan_are_counted_with_a_remedy(reader: str, tmp_path: Path) -> None:
    pixels = PLANES.astype(np.float32)
    pixels[2:5, :, :2] = np.nan
    pixels[7, 0, 0, 0] = np.inf
    packed(tmp_path / "x.npz", images=pixels, labels=LABELS)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"], file["labels"] = pixels, LABELS
    zarr_of(tmp_path / "x.zarr", pixels, chunks=(1, 2, 10, 12))
    read_one = {
        "npz": lambda: read_npz(tmp_path / "x.npz", layout_axes="NCHW"),
        "hdf5": lambda: read(tmp_path / "x.h5", layout_axes="NCHW"),
        "ome_zarr": lambda: read_zarr(tmp_path / "x.zarr"),
        "arrays": lambda: CellDataset.from_arrays(pixels, LABELS),
    }[reader]
    counts = r"\(144 NaN and 1 infinite of their 960 pixels\)"
    remedy = r"fill the background with one level.*np\.nan_to_num"
    with pytest.raises(DataError, match=rf"in 4 of 8 cells: 000002, .* {counts}; {remedy}"):
        read_one()


def ome_set(folder: Path, *, cells: int = 4) -> np.ndarray:
    """An image (T, C, Y, X) of which each cell (T) lies in a file of its own; returns it."""
    import tifffile

    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(6).integers(1, 4096, (cells, 2, 20, 18)).astype(np.uint16)
    uuid = "urn:uuid:00000000-0000-0000-0000-00000000000{}"
    planes = "".join(
        f'<TiffData FirstC="{c}" FirstT="{t}" FirstZ="0" IFD="{c}" PlaneCount="1">'
        f'<UUID FileName="t{t}.ome.tif">{uuid.format(t)}</UUID></TiffData>'
        for t in range(cells)
        for c in range(2)
    )
    channels = "".join(
        f'<Channel ID="Channel:0:{c}" Name="{name}" SamplesPerPixel="1"/>'
        for c, name in enumerate(("bright", "DAPI"))
    )
    for t in range(cells):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME UUID="' + uuid.format(t) + '" '
            'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCTZ" Type="uint16" SizeX="18" SizeY="20" '
            f'SizeC="2" SizeT="{cells}" SizeZ="1">{channels}{planes}</Pixels></Image></OME>'
        )
        with tifffile.TiffWriter(folder / f"t{t}.ome.tif", ome=False) as writer:
            for c in range(2):
                description = xml if c == 0 else None
                writer.write(pixels[t, c], description=description, metadata=None, contiguous=False)
    return pixels


def test_an_ome_tiff_whose_other_files_are_gone_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLSEARCH_CACHE", str(tmp_path / "cache"))
    pixels = ome_set(tmp_path / "set")
    path = tmp_path / "set" / "t0.ome.tif"
    np.testing.assert_array_equal(load_dataset(path).images, pixels)
    (tmp_path / "set" / "t2.ome.tif").unlink()
    with pytest.raises(
        ReadError, match=r"t0\.ome\.tif: parts of its image lie in t2\.ome\.tif, which is not there"
    ):
        load_dataset(path)


def test_a_set_of_ome_tiffs_gives_each_cell_once(tmp_path: Path) -> None:
    pixels = {name: ome_set(tmp_path / name) for name in ("a", "b")}
    cells = CellDataset.from_raw(layout("ome_tiff", {}).read(tmp_path))
    np.testing.assert_array_equal(cells.images, np.concatenate([pixels["a"], pixels["b"]]))
    assert cells.counts.tolist() == [4, 4]


def test_an_ome_tiff_that_was_renamed_is_whole(tmp_path: Path) -> None:
    pixels = ome_set(tmp_path, cells=1)
    (tmp_path / "t0.ome.tif").rename(tmp_path / "other.ome.tif")
    cells = CellDataset.from_raw(layout("ome_tiff", {}).read(tmp_path / "other.ome.tif"))
    np.testing.assert_array_equal(cells.images, pixels)


def test_a_file_that_ends_the_process_which_reads_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cellsearch.data import hdf5_probe

    sound, bad = source(tmp_path / "a.h5", CROPS), source(tmp_path / "b.h5", CROPS)
    assert hdf5_probe.fatal([sound, bad, tmp_path / "none.h5"]) == []
    # As HDF5 does on changed bytes: which bytes do so differs between its versions.
    program = tmp_path / "probe.py"
    program.write_text(
        "import os, sys\n"
        "for path in sys.argv[1:]:\n"
        "    if path.endswith('b.h5'):\n"
        "        os.abort()\n"
        "    sys.stdout.write('\\n')\n"
        "    sys.stdout.flush()\n"
    )
    assert hdf5_probe.by_program([sound, bad]) == []
    monkeypatch.setattr(hdf5_probe, "__file__", str(program))
    monkeypatch.setattr(
        hdf5_probe, "_look_at", lambda path: os.abort() if path.endswith("b.h5") else None
    )
    assert hdf5_probe.by_program([sound, bad, sound]) == [bad]
    os.utime(bad, (1, 1))
    assert hdf5_probe.fatal([sound, bad]) == [bad]
    with pytest.raises(ReadError, match=r"b\.h5: damaged, so that the HDF5 library itself fails"):
        read(bad)
    assert layout("hdf5", {}).files(bad) == [bad]


def test_an_anndata_backed_by_a_file_is_held_to_the_same(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    source(tmp_path / "one.h5", CROPS[:4])
    path = virtual(tmp_path / "x.h5", sources=("one.h5",), cells=4)
    (tmp_path / "one.h5").unlink()
    adata = anndata.AnnData(np.zeros((4, 1), np.float32))
    adata.obs["kind"] = LABELS[:4]
    with h5py.File(path) as file:
        held = file["images"]
        fake = type("Backed", (), {"X": held, "obs": adata.obs, "obsm": {}, "uns": {}})
        fake.obs_names, fake.n_obs = adata.obs_names, 4
        with pytest.raises(DataError, match=r"incomplete.*one\.h5 is its source"):
            CellDataset.from_anndata(fake, images="X", label_key="kind")
