"""A fixed part of the malformed inputs: each is read right or refused in one message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellsearch import load_dataset
from cellsearch.data.dataset import CellDataset

import malformed
from answer_cases import SPLITS, write_run
from card_cases import made
from malformed import SECONDS, Valid, call, make_valid, try_case, unhelpful

CASES = 60


@pytest.fixture(scope="module")
def valid(tiny_dataset: CellDataset, tmp_path_factory: pytest.TempPathFactory) -> Valid:
    folder = tmp_path_factory.mktemp("valid")
    card = made(tiny_dataset, tmp_path_factory).card.folder
    return make_valid(folder / "inputs", card, write_run(folder / "run", SPLITS))


@pytest.mark.parametrize("number", range(CASES))
def test_a_malformed_input_is_read_right_or_refused_in_one_message(
    number: int, valid: Valid, tmp_path: Path
) -> None:
    found = try_case(number, valid, tmp_path, seed=0)
    assert found.verdict in ("read right", "refused"), f"{found.change}: {found.why}"
    assert found.seconds < SECONDS


def test_what_is_wrong_with_a_message_is_seen(tmp_path: Path) -> None:
    assert unhelpful("cellsearch: a.csv: line 3: no class; give one\n", tmp_path) is None
    assert unhelpful("", tmp_path)
    assert unhelpful("cellsearch: KeyError: 'a'\n", tmp_path)
    assert unhelpful("cellsearch: a\nb\n", tmp_path)
    assert unhelpful("cellsearch: \x1b[31m\n", tmp_path)


def test_cells_that_were_read_wrongly_are_seen(
    valid: Valid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [(image, "live") for image in valid.cells.images]
    assert "cells differ" in str(malformed.differing(valid.folder / "cells.npz", wanted))
    right = [(p, valid.cells.classes[k]) for p, k in zip(*_of(valid.cells), strict=True)]
    assert malformed.differing(valid.folder / "cells.npz", right) is None


def _of(cells: CellDataset) -> tuple[object, object]:
    return cells.images, cells.labels


def test_a_command_that_is_called_in_this_process_tells_its_code(tmp_path: Path) -> None:
    code, out, err = call(("datasets", "describe", str(tmp_path / "gone.npz")))
    assert (code, out) == (2, "")
    assert "no such file" in err


def test_aliases_that_explode_and_files_of_megabytes_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    for text, why in (
        (malformed.LAUGHS + malformed.SPACE, "far more values than are written"),
        (malformed.SPACE + f"title: {'a' * 600_000}\n", "holds at most 0.5 MB"),
    ):
        path.write_text(text)
        code, _, err = call(("spaces", "validate", str(path)))
        assert (code, why in err) == (2, True), err[:300]


def test_a_tag_on_a_list_and_a_date_are_refused_by_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for old, new, why in (
        ("title: Eight cells", "title: !!python/object/apply:os.system [id]", "$.title: "),
        ("name: mine", "name: 2020-01-01", "expected text, got a date (2020-01-01)"),
        ("label_free: true}", "label_free: true}\npixel_size_um: .inf", "got inf (mine.yaml:13)"),
    ):
        path.write_text(malformed.MANIFEST.replace(old, new))
        code, _, err = call(("datasets", "describe", str(path)))
        assert (code, why in err) == (2, True), err[:300]


def test_many_problems_of_one_file_are_listed_to_twenty(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(malformed.SPACE.replace("[none, sqrt, inv]", str(list(range(500)))))
    code, _, err = call(("spaces", "validate", str(path)))
    assert code == 2
    assert err.splitlines()[-1] == "and 480 more like these"
    assert len(err.splitlines()) == 21


def test_slices_are_asked_about_before_each_is_taken_for_a_cell(
    valid: Valid, tmp_path: Path
) -> None:
    path = tmp_path / "z.tif"
    planes = valid.cells.images[:6]
    tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "ZCYX"})
    asked = ("predict", str(valid.card), str(path), "-o", str(tmp_path / "z.csv"))
    for words in (asked, ("datasets", "describe", str(path)), ("init", str(path))):
        code, _, err = call(words)
        assert (code, "6 slices (Z) in one file" in err) == (2, True), err
        assert "--option layout=ome_tiff" in err
    assert call((*asked, "--option", "layout=ome_tiff"))[0] == 0
    assert len((tmp_path / "z.csv").read_text().splitlines()) == 7
    served = malformed._send(valid.card, "z.tif", path.read_bytes())
    assert served["cells"] == []
    assert "6 slices (Z) in one file" in served["refused"][0]["reason"]


def test_a_folder_that_was_converted_brings_new_crops_as_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "cells" / name).mkdir(parents=True)
        for k in range(4):
            plane = rng.integers(1, 250, (10 + 2 * k, 12)).astype(np.uint8)
            tifffile.imwrite(tmp_path / "cells" / name / f"{k}.tif", plane)
    words = ("--option", "size=12x12", "--option", "fit=resize")
    code, _, err = call(("convert", str(tmp_path / "cells"), "-o", str(tmp_path / "out"), *words))
    assert code == 0, err
    assert load_dataset(tmp_path / "out").provenance.fit == "resize"
