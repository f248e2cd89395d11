"""Commands as a user types them: what works, and one clear line with code 2 for what cannot."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellsearch import cli
from cellsearch.cli.options import reader_options
from cellsearch.errors import ConfigError
from cellsearch.tune.storage import open_storage

from command_cases import write_folder
from conftest import squares
from run_cases import TINY, Stopper, tiny_search


@pytest.fixture(scope="session")
def card(finished_card: Path) -> Path:
    return finished_card


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
        (("resume", "nowhere"), ("nowhere", "no such folder")),
        (("show", "nowhere"), ("nowhere", "no such folder", "cellsearch runs")),
        (("spaces", "show", "quick", "--yaml", "--json"), ("--yaml, --json",)),
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


def test_what_is_printed_to_be_typed_is_quoted(command, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "Zellen Übersicht", squares((6, 5, 4)))
    code, out, error = command("datasets", "describe", root, "--sheet", tmp_path / "s.png")
    assert code == 0, error
    assert f"cellsearch datasets check '{root}'\n" in out
    made = tmp_path / "neu & alt"
    code, out, error = command("convert", root, "-o", made)
    assert code == 0, error
    assert f"cellsearch run --dataset '{made}'\n" in out


def test_an_empty_class_folder_is_named(command, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", squares())
    (root / "class-9").mkdir()
    one_line(*command("run", "--dataset", root)[::2], "class-9")


def test_mixed_sizes_are_brought_to_one_and_counted(command, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "cells", squares())
    Image.fromarray(np.zeros((20, 16), np.uint8)).save(root / "class-0" / "odd.png")
    code, out, _ = command("datasets", "describe", root, "--sheet", tmp_path / "s.png")
    assert code == 0
    assert "crops of 2 sizes (16x16 to 20x16 px)" in out


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


def test_check_finds_a_planted_duplicate(command, tmp_path: Path) -> None:
    cells = squares()
    images = cells.images.copy()
    images[70] = images[3]
    np.savez(tmp_path / "cells.npz", images=images, labels=cells.labels)
    code, out, _ = command("datasets", "check", tmp_path / "cells.npz")
    assert code == 1
    assert "duplicate-across-classes" in out


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


def commands_of(app=None, words=()) -> list[tuple[str, ...]]:
    """The words of every visible command."""
    import typer

    command = app or typer.main.get_command(cli.app)
    below = getattr(command, "commands", None)
    if below is None:
        return [words]
    return [
        found
        for name, each in below.items()
        if not each.hidden
        for found in commands_of(each, (*words, name))
    ]


@pytest.mark.parametrize("words", commands_of(), ids=" ".join)
def test_help_ends_with_an_example(command, words) -> None:
    code, out, _ = command(*words, "--help")
    assert code == 0
    told = out.split("\nOptions:")[0].split("\nArguments:")[0].rstrip()
    assert f"Example: cellsearch {' '.join(words)}" in " ".join(told.split())


def test_help_says_the_exit_codes_and_loads_little() -> None:
    heavy = {"torch", "ray", "numpy", "pandas", "matplotlib", "fastapi", "rich"}
    code = (
        "import sys, cellsearch.cli as c; sys.argv = ['cellsearch', '--help']\n"
        "try: c.main()\nexcept SystemExit: pass\n"
        f"assert not {heavy!r} & set(sys.modules), {heavy!r} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Exit codes: 0 done; 1 a check found problems" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rnu",), "Did you mean 'run'?"),
        (("datasets", "lst"), "Did you mean 'list'?"),
        (("run", "--datset", "demo"), "--dataset"),
        (("predict",), "CARD"),
    ],
)
def test_a_word_that_is_near(command, words, said) -> None:
    code, _, error = command(*words)
    assert code == 2
    assert said in error
    assert "cellsearch" in error


@pytest.fixture(scope="module")
def other_run(card: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import shutil

    folder = tmp_path_factory.mktemp("copies") / "other"
    shutil.copytree(card.parent, folder)
    return folder


@pytest.mark.slow
def test_one_json_document_of_each_command(
    command, card: Path, other_run: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = squares()
    np.savez("cells.npz", images=cells.images, labels=cells.labels)
    Path("mine.yaml").write_text("name: mine\nparameters:\n  augment.flip: {choice: [true]}\n")
    run = card.parent
    said = {}
    for words in (
        ("datasets", "list"),
        ("datasets", "describe", "cells.npz"),
        ("datasets", "check", "cells.npz", "--groups"),
        ("spaces", "list"),
        ("spaces", "show", "quick"),
        ("spaces", "validate", "mine.yaml"),
        ("spaces", "sample", "quick", "-n", "2"),
        ("runs", run.parent),
        ("show", run),
        ("audit", run),
        ("compare", run, other_run),
        ("verify", card),
    ):
        code, out, error = command(*words, "--json")
        assert code in (0, 1), error
        said[" ".join(map(str, words[:2]))] = json.loads(out)
    assert said["datasets describe"]["classes"] == {"0": 50, "1": 30, "2": 10}
    assert Path(said["datasets describe"]["contact_sheet"]).is_file()
    assert said["datasets check"]["folds"] == 5
    assert len(said["spaces sample"]) == 2
    assert said[f"show {run}"]["card"]["folder"] == str(card)
    assert said[f"show {run}"]["trials"][0]["score"] > 0
    assert said[f"runs {run.parent}"][0]["state"] == "finished"


def test_show_says_what_to_do_next(command, card: Path) -> None:
    _, out, _ = command("show", card.parent)
    for verb in ("report", "predict", "serve", "audit"):
        assert f"cellsearch {verb} " in out


@pytest.mark.slow
def test_run_ends_with_one_json_document(command, tmp_path: Path) -> None:
    cells = squares((20, 14, 8))
    np.savez(tmp_path / "cells.npz", images=cells.images, labels=cells.labels)
    space = tmp_path / "tiny.yaml"
    space.write_text(json.dumps(TINY))
    words = ("run", "--dataset", tmp_path / "cells.npz", "--space", space, "--budget", "1")
    code, out, error = command(
        *words, "--folds", "2", "--backend", "local", "-o", tmp_path / "run", "--json"
    )
    assert code == 0, error
    facts = json.loads(out)
    assert facts["interrupted"] is False
    assert facts["best"]["trial"] == 0
    assert facts["card"]["folder"] == str(tmp_path / "run" / "card")
    assert "comparing the trials with the baseline" in error
    assert "training the winner on all development cells" in error


@pytest.mark.slow
def test_checking_and_auditing_tell_how_far_they_are(
    command, card: Path, other_run: Path, tmp_path: Path
) -> None:
    cells = squares()
    names = np.array([f"donor{k % 3}_{k}" for k in range(len(cells))])
    root = write_folder(tmp_path / "cells", cells)
    for path, name in zip(sorted(root.rglob("*.png")), names, strict=True):
        path.rename(path.with_name(f"{name}.png"))
    _, _, error = command("datasets", "check", root, "--groups")
    assert "checking cells" in error
    assert "probing donor" in error
    assert "looking for leaks" in command("audit", card.parent)[2]
    assert "comparing runs" in command("compare", card.parent, other_run)[2]


@pytest.mark.slow
def test_a_run_broken_off_before_its_first_trial(command, tmp_path: Path) -> None:
    """Its database holds no study yet, which is no fault of the database."""
    run = tmp_path / "broken"
    tiny_search(run, observer=Stopper(1))
    for file in run.glob("study.db*"):
        file.unlink()
    open_storage(f"sqlite:///{run / 'study.db'}")
    code, out, _ = command("show", run)
    assert code == 0
    assert f"no card yet: cellsearch resume {run}" in out
    code, out, _ = command("runs", tmp_path)
    assert "unfinished" in out


def test_a_run_in_place_of_its_card_is_told(command, tmp_path: Path) -> None:
    (tmp_path / "run" / "card").mkdir(parents=True)
    (tmp_path / "run" / "card" / "config.json").touch()
    code, _, error = command("predict", tmp_path / "run", tmp_path)
    assert code == 2
    assert f"the card of this run is {tmp_path / 'run' / 'card'}" in error


@pytest.mark.parametrize("pair", ["mirror=/data", "variant=five", "cache=x", "on_progress=1"])
def test_an_option_that_no_reader_has_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="--option: no reader has"):
        reader_options([pair])
