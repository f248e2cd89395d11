from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellsearch.data.cache import key_of
from cellsearch.data.source import load_dataset
from cellsearch.data.unlabelled import read_unlabelled
from cellsearch.errors import CatalogError, ConfigError, DataError, FetchError, ReadError
from cellsearch.util.user_folders import cache_folder

MANIFEST = """\
name: mine
title: Two classes
licence: CC0-1.0
pixel_size_um: 0.5
source: {folder: images}
layout: {reader: folders}
classes:
  - {name: b, count: 2}
  - {name: a, count: 3}
channels:
  - {name: brightfield, label_free: true}
  - {name: dna, label_free: false}
variants:
  free: {channels: [brightfield]}
  one: {merge: {ab: [a, b]}}
default_variant: free
"""


def write_cells(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for label, count in (("a", 3), ("b", 2)):
        (folder / label).mkdir(parents=True)
        for k in range(count):
            planes = rng.integers(0, 4000, (2, 6, 8)).astype(np.uint16)
            tifffile.imwrite(folder / label / f"{k}.tif", planes, photometric="minisblack")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A manifest of one's own beside its images."""
    write_cells(tmp_path / "images")
    (tmp_path / "mine.yaml").write_text(MANIFEST)
    return tmp_path / "mine.yaml"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_manifest_of_ones_own(mine: Path, cache: Path) -> None:
    cells = load_dataset(str(mine), cache=cache)
    assert cells.name == "mine"
    assert cells.classes == ("b", "a")
    assert cells.counts.tolist() == [2, 3]
    assert cells.channels == ("brightfield",)
    assert cells.provenance.label_free == ("brightfield",)
    assert cells.provenance.pixel_size_um == 0.5
    assert isinstance(cells.images, np.memmap)
    merged = load_dataset(str(mine), variant="one", cache=cache)
    assert merged.name == "mine-one"
    assert merged.classes == ("ab",)
    assert merged.channels == ("brightfield", "dna")
    np.testing.assert_array_equal(merged.images[:, :1], cells.images)
    with pytest.raises(CatalogError, match="no variant 'fre'; did you mean 'free'"):
        load_dataset(str(mine), variant="fre", cache=cache)


def test_counts_must_be_those_of_the_manifest(mine: Path, cache: Path) -> None:
    (mine.parent / "images/a/0.tif").unlink()
    with pytest.raises(DataError, match=r"differ from the manifest: a 2 \(manifest: 3\)$"):
        load_dataset(str(mine), cache=cache)
    assert not list((cache / "datasets").glob("*")) if (cache / "datasets").exists() else True


def test_files_are_read_again_only_when_they_change(mine: Path, cache: Path) -> None:
    folder = mine.parent / "images"
    read: list[str] = []

    def load(**options: str) -> str:
        cells = load_dataset(
            folder, cache=cache, on_progress=lambda what, *_: read.append(what), **options
        )
        return cells.sha256

    first = load()
    assert read
    read.clear()
    assert load() == first
    assert not read
    assert load(size="10x10") != first
    read.clear()
    changed = np.zeros((2, 6, 8), np.uint16)
    tifffile.imwrite(folder / "a" / "0.tif", changed, photometric="minisblack")
    assert load() != first
    assert read


def test_a_damaged_cache_is_built_anew(mine: Path, cache: Path) -> None:
    cells = load_dataset(mine.parent / "images", cache=cache)
    assert cells.folder is not None
    before = np.array(cells.images)
    (cells.folder / "images.npy").write_bytes(b"damaged")
    again = load_dataset(mine.parent / "images", cache=cache)
    np.testing.assert_array_equal(again.images, before)


@pytest.mark.slow
def zeroed(path: Path, start: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(length))


def test_a_cache_in_which_bytes_went_bad_is_built_anew(
    mine: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_dataset(mine, cache=cache)
    whole = np.array(first.images)
    images = first.folder / "images.npy"
    zeroed(images, images.stat().st_size // 2, 100)
    again = load_dataset(mine, cache=cache)
    np.testing.assert_array_equal(again.images, whole)
    # Of a large file a part is looked at, unless all is asked for.
    monkeypatch.setattr("cellsearch.data.storage.BLOCKS", 2)
    monkeypatch.setattr("cellsearch.data.storage.BLOCK_BYTES", 16)
    shutil.rmtree(cache)
    first = load_dataset(mine, cache=cache)
    zeroed(first.folder / "images.npy", 200, 50)
    assert not np.array_equal(load_dataset(mine, cache=cache).images, whole)
    np.testing.assert_array_equal(load_dataset(mine, cache=cache, verified=True).images, whole)


def test_several_processes_build_one_cache(mine: Path, cache: Path) -> None:
    code = (
        "import sys; from cellsearch.data.source import load_dataset\n"
        "print(load_dataset(sys.argv[1]).sha256)"
    )
    environment = os.environ | {"CELLSEARCH_CACHE": str(cache)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(mine)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert len({process.communicate()[0] for process in running}) == 1
    assert [process.returncode for process in running] == [0, 0, 0]
    names = [path.name for path in (cache / "datasets").iterdir()]
    assert len(names) == 2
    assert not [name for name in names if name.startswith(".")]


def test_a_cache_that_cannot_be_written_is_told(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written .* CELLSEARCH_CACHE"):
        load_dataset(str(mine), cache=tmp_path / "file")


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLSEARCH_CACHE", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c"
    monkeypatch.delenv("CELLSEARCH_CACHE")
    assert "cellsearch" in cache_folder().parts[-1]


def test_keys_do_not_depend_on_order() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1}) != key_of({"a": 1, "b": 3})


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("jurkatt", {}, CatalogError, "no data set 'jurkatt'; did you mean 'jurkat'"),
        ("no/where", {}, ReadError, "no/where: no such file or folder"),
        ("nowhere.csv", {}, ReadError, "no such file or folder"),
        ("nowhere.yaml", {}, CatalogError, "no such file"),
        ("jurkat", {"tiles": "40"}, ConfigError, "did you mean 'tile'"),
        ("FOLDER", {"variant": "x"}, ConfigError, "only a manifest has variants"),
        ("FOLDER", {"mirror": Path("x")}, ConfigError, "only a manifest has files to fetch"),
        ("FOLDER", {"layout": "folder"}, ConfigError, "did you mean 'folders'"),
        ("FOLDER", {"sise": "4"}, ConfigError, "did you mean 'size'"),
    ],
)
def test_wrong_names_and_options(name, options, error, message, mine: Path, cache: Path) -> None:
    path = mine.parent / "images" if name == "FOLDER" else name
    with pytest.raises(error, match=message) as caught:
        load_dataset(path, cache=cache, **options)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_a_built_in_name_is_not_hidden_by_a_folder(
    mine: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    (mine.parent / "images").rename(mine.parent / "demo")
    assert len(load_dataset("./demo", cache=cache)) == 5
    assert load_dataset("demo", cache=cache).provenance.synthetic


def test_demo_is_the_same_each_time(cache: Path, tmp_path: Path) -> None:
    cells = load_dataset("demo", cache=cache)
    assert cells.counts.tolist() == [420, 260, 260, 48, 20, 12, 14]
    assert cells.channels == ("brightfield", "darkfield")
    assert load_dataset("demo", cache=tmp_path / "other").sha256 == cells.sha256


@pytest.mark.slow
def test_jurkat(mlcp_root: Path, cache: Path) -> None:
    cells = load_dataset("jurkat", mirror=mlcp_root, cache=cache)
    assert cells.images.shape == (7916, 2, 40, 40)
    assert cells.images.dtype == np.uint16
    assert dict(zip(cells.classes, cells.counts.tolist(), strict=True)) == {
        "G1": 5400,
        "S": 900,
        "G2": 900,
        "Prophase": 606,
        "Metaphase": 68,
        "Anaphase": 15,
        "Telophase": 27,
    }
    assert cells.channels == cells.provenance.label_free == ("brightfield", "darkfield")
    assert cells.groups is None
    # Column by column: the second cell lies below the first.
    montage = tifffile.imread(mlcp_root / "Experiment_1/Anaphase/Ch6_CP0001.tif")
    anaphase = np.flatnonzero(cells.labels == cells.classes.index("Anaphase"))
    np.testing.assert_array_equal(cells.images[anaphase[1], 1], montage[40:80, :40])
    assert cells.object_numbers[anaphase].tolist() == list(range(15))
    assert set(cells.sources[anaphase]) == {"Experiment_1/Anaphase/Ch3_CP0001.tif"}
    # What is cached needs neither mirror nor network, whatever the variant.
    assert load_dataset("jurkat", cache=cache).sha256 == cells.sha256
    five = load_dataset("jurkat", variant="five-class", cache=cache)
    assert five.classes == ("interphase", "Prophase", "Metaphase", "Anaphase", "Telophase")
    assert five.counts[0] == 7200
    everything = load_dataset("jurkat", variant="all-channels", cache=cache)
    assert everything.channels == ("brightfield", "dna", "darkfield")


def test_a_changed_montage_is_refused(mlcp_root: Path, cache: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(mlcp_root, mirror)
    changed = mirror / "Experiment_1/G2/Ch6_CP0008.tif"
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.chmod(0o644)
    changed.write_bytes(bytes(content))
    with pytest.raises(FetchError, match=r"changed or incomplete: Experiment_1/G2/Ch6_CP0008\.tif"):
        load_dataset("jurkat", mirror=mirror, cache=cache)
    assert not (cache / "datasets").exists()


def test_reading_loads_neither_torch_nor_ray(mine: Path, cache: Path) -> None:
    code = (
        "import sys; from cellsearch.data.source import load_dataset\n"
        "load_dataset(sys.argv[1])\n"
        "print([m for m in ('torch', 'ray', 'pooch', 'optuna') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(mine)],
        env=os.environ | {"CELLSEARCH_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_a_reader_that_is_none_is_named_also_for_prediction(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no reader 'tabel'; did you mean 'table'"):
        read_unlabelled(tmp_path, channels=3, layout="tabel")


def test_a_manifest_keeps_what_its_reader_found_out(mine: Path, cache: Path) -> None:
    text = mine.read_text().replace("{reader: folders}", "{reader: folders, options: {size: 8x8}}")
    mine.write_text(text + "notes: ours\n")
    cells = load_dataset(str(mine), cache=cache)
    told = "ours\n5 crops of 1 size (6x8 px): padded to 8x8"
    assert (cells.provenance.fit, cells.provenance.notes) == ("pad", told)
