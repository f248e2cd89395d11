"""Commands as a user types them: what works, and one clear line with code 2 for what cannot."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellsearch import cli
from cellsearch.data.dataset import CellDataset

from conftest import squares
from test_run import tiny_search


def cellsearch(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object
) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["cellsearch", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), printed.out, printed.err


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    return lambda *words: cellsearch(capsys, monkeypatch, *words)


def write_folder(root: Path, cells: CellDataset) -> Path:
    for index, label in enumerate(cells.labels):
        folder = root / cells.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(cells.images[index, 0]).save(folder / f"{index:03d}.png")
    return root


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result = tiny_search(tmp_path_factory.mktemp("cards") / "run", budget=1)
    return result.card.folder


def test_lists(command) -> None:
    code, out, _ = command("datasets", "list")
    assert code == 0
    assert re.search(r"jurkat\s+7,916\s+7\s+real", out)
    assert re.search(r"demo\s+1,034\s+7\s+generated", out)
    code, out, _ = command("spaces", "list")
    assert code == 0
    assert "default" in out
    assert "quick" in out


def test_sampled_recipes_repeat(command) -> None:
    first = command("spaces", "sample", "default", "-n", "2", "--seed", "3")
    assert first == command("spaces", "sample", "default", "-n", "2", "--seed", "3")
    assert first[1].count("recipe ") == 2


def test_predict_one_image_and_many(command, card: Path, tmp_path: Path) -> None:
    cells = squares(seed=9)
    np.savez(tmp_path / "new.npz", images=cells.images, labels=cells.labels)
    out = tmp_path / "predicted.csv"
    code, _, error = command("predict", card, tmp_path / "new.npz", "-o", out)
    assert code == 0, error
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == len(cells)
    assert {"id", "predicted_class", "confidence", "class-0", "class-1", "class-2"} <= set(rows[0])
    for row in rows:
        assert sum(float(row[c]) for c in cells.classes) == pytest.approx(1, abs=1e-3)


def test_predict_loads_neither_torch_nor_ray(card: Path, tmp_path: Path) -> None:
    cells = squares(seed=9)
    np.savez(tmp_path / "new.npz", images=cells.images, labels=cells.labels)
    code = (
        "import sys, cellsearch.cli as c; sys.argv = ['cellsearch', 'predict', "
        f"{str(card)!r}, {str(tmp_path / 'new.npz')!r}]\n"
        "try: c.main()\nexcept SystemExit: pass\n"
        "assert not {'torch', 'ray', 'optuna'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_verify_names_a_changed_file(command, card: Path, tmp_path: Path) -> None:
    import shutil

    assert command("verify", card)[0] == 0
    changed = tmp_path / "card"
    shutil.copytree(card, changed)
    weights = changed / "model.onnx"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    code, _, error = command("verify", changed)
    assert code == 2
    assert "model.onnx" in error
    assert command("predict", changed, tmp_path)[0] == 2


def one_line(code: int, error: str, *parts: str) -> None:
    assert code == 2, error
    assert error.splitlines()[-1].startswith("cellsearch: ") or error.startswith("cellsearch: ")
    assert "Traceback" not in error
    for part in parts:
        assert part in error


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("run", "--dataset", "jurkatt"), ("did you mean 'jurkat'?",)),
        (("run", "--dataset", "/nowhere/at/all"), ("/nowhere/at/all",)),
        (("run", "--dataset", "demo", "--space", "defualt"), ("did you mean 'default'?",)),
        (("run", "--dataset", "demo", "--budget", "0"), ("--budget",)),
        (("run", "--dataset", "demo", "--folds", "1"), ("--folds",)),
        (("run", "--dataset", "demo", "--time", "soon"), ("--time", "30m")),
        (("run", "--dataset", "demo", "--metric", "acc"), ("--metric", "balanced_accuracy")),
        (("run", "--dataset", "demo", "--option", "size"), ("NAME=VALUE",)),
        (("run", "--dataset", "demo", "--variant", "dna"), ("variant",)),
        (("resume", "nowhere"), ("run.json",)),
        (("show", "nowhere"), ("run.json",)),
        (("verify", "nowhere"), ("nowhere",)),
        (("spaces", "show", "quik"), ("did you mean 'quick'?",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_words(command, tmp_path: Path, monkeypatch, words, parts) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = command(*words)
    one_line(code, error, *parts)
    assert list(tmp_path.iterdir()) == []


def test_a_typo_in_a_space_is_located(command, tmp_path: Path) -> None:
    space = tmp_path / "mine.yaml"
    space.write_text("name: mine\nparameters:\n  loss.weigthing: {choice: [none, sqrt]}\n")
    code, _, error = command("spaces", "validate", space)
    one_line(code, error, "did you mean 'loss.weighting'?", "mine.yaml:3")


def test_a_truncated_image_is_named(command, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", squares())
    broken = root / "class-0" / "003.png"
    broken.write_bytes(broken.read_bytes()[:40])
    code, _, error = command("run", "--dataset", root, "--out", tmp_path / "run")
    one_line(code, error, "003.png")
    assert not (tmp_path / "run").exists()


def test_an_empty_class_folder_is_named(command, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", squares())
    (root / "class-9").mkdir()
    one_line(*command("run", "--dataset", root)[::2], "class-9")


def test_mixed_sizes_are_listed(command, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", squares())
    Image.fromarray(np.zeros((20, 16), np.uint8)).save(root / "class-0" / "odd.png")
    one_line(*command("datasets", "describe", root)[::2], "20", "16", "size=")


def test_a_class_too_small_lists_the_choices(command, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", squares((30, 20, 3)))
    code, _, error = command("run", "--dataset", root, "--out", tmp_path / "run")
    one_line(code, error, "class-2", "--folds", "--rare", "keep", "drop", "merge=")
    assert not (tmp_path / "run").exists()


def test_nan_pixels_are_refused(command, tmp_path: Path) -> None:
    images = squares().images.astype(np.float32)
    images[4, 0, 3, 3] = np.nan
    np.savez(tmp_path / "cells.npz", images=images, labels=squares().labels)
    one_line(*command("run", "--dataset", tmp_path / "cells.npz")[::2], "cells.npz")


def test_a_label_missing_in_a_table_is_named(command, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", squares((4, 4, 4)))
    files = sorted(root.rglob("*.png"))
    lines = ["path,label", *(f"{p.relative_to(tmp_path)},{p.parent.name}" for p in files)]
    lines[3] = lines[3].split(",")[0] + ","
    (tmp_path / "cells.csv").write_text("\r\n".join(lines) + "\r\n")
    one_line(*command("datasets", "check", tmp_path / "cells.csv")[::2], "cells.csv", "4")


def test_predict_refuses_other_channels(command, card: Path, tmp_path: Path) -> None:
    images = np.zeros((3, 3, 16, 16), np.uint8)
    np.savez(tmp_path / "rgb.npz", images=images, labels=np.array([0, 1, 2]))
    code, _, error = command("predict", card, tmp_path / "rgb.npz")
    one_line(code, error, "3 channels", "2")


def test_check_finds_a_planted_twin(command, tmp_path: Path) -> None:
    cells = squares()
    images = cells.images.copy()
    images[70] = images[3]
    np.savez(tmp_path / "cells.npz", images=images, labels=cells.labels)
    code, out, _ = command("datasets", "check", tmp_path / "cells.npz")
    assert code == 1
    assert "twin" in out


def test_white_blood_cells_load_by_one_command(command, wbc_root: Path, tmp_path: Path) -> None:
    code, out, error = command(
        "datasets",
        "describe",
        wbc_root / "labels.csv",
        "--option",
        "size=120x120",
        "--sheet",
        tmp_path / "cells.png",
    )
    assert code == 0, error
    assert "300 cells, 3 x 120 x 120, uint8" in out
    assert (tmp_path / "cells.png").stat().st_size > 10_000
