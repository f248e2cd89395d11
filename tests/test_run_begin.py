"""How a run begins: of what, in which folder, and what is refused before anything is trained."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cellsearch
from cellsearch.data.dataset import CellDataset
from cellsearch.run.folder import make_folder, read_record
from cellsearch.space.search_space import SearchSpace

from conftest import squares
from run_cases import TINY, Stopper

pytestmark = pytest.mark.slow

KEYS: dict[str, Any] = {"budget": 2, "folds": 2, "backend": "local", "threads": 1}


def test_names_paths_and_mappings_are_taken(tmp_path: Path) -> None:
    cells = squares((20, 16))
    for label, image in zip(cells.labels, cells.images, strict=True):
        folder = tmp_path / "cells" / cells.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir()))
        Image.fromarray(image[0].astype(np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "tiny.yaml").write_text(SearchSpace.from_dict(TINY).to_yaml())
    keys = KEYS | {"budget": 1}
    named = cellsearch.search(
        tmp_path / "cells", tmp_path / "tiny.yaml", out=tmp_path / "a", **keys
    )
    mapped = cellsearch.search(str(tmp_path / "cells"), TINY, out=tmp_path / "b", **keys)
    assert read_record(named.folder).built == ()
    assert read_record(mapped.folder).built == ("space",)
    assert named.card is not None


@pytest.mark.parametrize(
    ("dataset", "space", "message"),
    [
        (np.zeros((9, 8, 8)), TINY, r"dataset: expected a CellDataset.*from_arrays"),
        (None, TINY, "dataset: expected a CellDataset"),
        (squares((9, 9)), 7, "space: expected a SearchSpace"),
    ],
)
def test_what_is_neither_is_refused(dataset: Any, space: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(cellsearch.RunError, match=message):
        cellsearch.search(dataset, space, out=tmp_path / "run", **KEYS)
    assert not (tmp_path / "run").exists()


def test_settings_of_a_reader_do_nothing_to_cells_that_were_read(tmp_path: Path) -> None:
    with pytest.raises(cellsearch.RunError, match="options, variant: of a reader"):
        cellsearch.search(
            squares(), TINY, out=tmp_path / "r", options={"size": "8x8"}, variant="x", **KEYS
        )


def test_resume_reads_back_what_python_built_whatever_its_name(tmp_path: Path) -> None:
    first = squares()
    cells = CellDataset.from_arrays(first.images, first.labels, name="demo")
    space = SearchSpace.from_dict(TINY | {"name": "quick"})
    stopped = cellsearch.search(cells, space, out=tmp_path / "run", observer=Stopper(1), **KEYS)
    assert stopped.interrupted
    assert read_record(tmp_path / "run").built == ("cells", "space")
    ended = cellsearch.resume(tmp_path / "run")
    assert ended.card is not None
    assert ended.card.config.dataset.sha256 == cells.sha256


def test_another_search_by_the_same_name_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stopped = cellsearch.search(squares(), TINY, observer=Stopper(1), **KEYS)
    other = cellsearch.search(squares(seed=5), TINY, observer=Stopper(1), **KEYS)
    again = cellsearch.search(squares(), TINY, **KEYS)
    assert stopped.folder != other.folder
    assert again.folder == stopped.folder
    assert again.card is not None


def test_of_two_searches_at_once_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[Any] = []
    # Both have found the place free before either makes its folder.
    gate = threading.Barrier(2)

    def together(*values: Any, **options: Any) -> tuple[Path, bool]:
        gate.wait(60)
        return make_folder(*values, **options)

    def go() -> None:
        try:
            ends.append(cellsearch.search(squares(), TINY, out=tmp_path / "run", **KEYS))
        except cellsearch.CellsearchError as error:
            ends.append(error)

    monkeypatch.setattr("cellsearch.run.search.make_folder", together)
    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (error,) = [end for end in ends if isinstance(end, Exception)]
    assert "was just created by another search" in str(error)
    (done,) = [end for end in ends if not isinstance(end, Exception)]
    assert done.card.verify().cells > 0


def test_a_place_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, message in ((tmp_path / "file", "is a file"), (tmp_path / "file" / "x", "cannot")):
        with pytest.raises(cellsearch.RunError, match=message):
            cellsearch.search(squares(), TINY, out=place, **KEYS)
    with pytest.raises(cellsearch.RunError, match="no such folder"):
        cellsearch.resume(tmp_path / "nowhere")


def test_a_refused_device_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(cellsearch.ConfigError, match="device"):
        cellsearch.search(squares(), TINY, out=tmp_path / "run", device="tpu", **KEYS)
    assert not (tmp_path / "run").exists()
    with pytest.raises(cellsearch.RunError, match="threads: expected an integer"):
        cellsearch.search(squares(), TINY, out=tmp_path / "run", **(KEYS | {"threads": 100_000}))


def test_one_number_format_gives_the_same_network_again(tmp_path: Path) -> None:
    keys = KEYS | {"budget": 2, "precision": "fp32+channels_last"}
    runs = [cellsearch.search(squares(), TINY, out=tmp_path / name, **keys) for name in "ab"]
    weights = [(run.card.folder / "model.safetensors").read_bytes() for run in runs if run.card]
    assert weights[0] == weights[1]
    assert all("Trained in fp32+channels_last, as its folds" in run.card.readme for run in runs)
    with pytest.raises(cellsearch.RunError, match="precision: expected one of"):
        cellsearch.search(squares(), TINY, out=tmp_path / "c", **(KEYS | {"precision": "fp8"}))
