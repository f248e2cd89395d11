"""What readers pass over and refuse: donors nobody declared, two labels, NA, -1, odd names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image
from ruamel.yaml import YAML

from cellsearch.data.check import check_dataset
from cellsearch.data.dataset import CellDataset
from cellsearch.data.readers import column_notes, column_texts
from cellsearch.data.source import load_dataset
from cellsearch.data.splits import draw_splits
from cellsearch.data.unlabelled import cells_to_convert, cells_to_predict
from cellsearch.errors import ConfigError, DataError, ReadError, SplitError
from cellsearch.scan import estimate as timing
from cellsearch.scan import first_look, write
from cellsearch.scan.facts import lines
from cellsearch.space.recipe import BASELINE
from cellsearch.util.wording import as_option, worded

from command_cases import cellsearch
from table_cases import CELLS, CLASSES, CROPS, DONORS, LABELS, read, table, undeclared


def blanked(values: Sequence[str], word: str, *at: int) -> list[str]:
    return [word if k in at else value for k, value in enumerate(values)]


# Columns of donors


@pytest.mark.parametrize("name", ["group", "groups", "Groups", "GROUP"])
def test_a_column_of_groups_is_used_in_any_case(name: str, tmp_path: Path) -> None:
    cells = read(table(tmp_path, label=LABELS, **{name: DONORS}))
    assert cells.groups is not None
    assert cells.groups.tolist() == DONORS
    assert undeclared(cells) == []


@pytest.mark.parametrize(
    "name",
    [
        "donor", "donor_id", "Patient ID", "mouse", "animal", "slide", "plate", "well", "batch",
        "sample", "subject", "replicate", "experiment", "day", "Metadata_Plate", "donors", "mice",
    ],
)  # fmt: skip
def test_a_column_of_donors_is_told_with_its_remedy(name: str, tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS, **{name: DONORS})
    cells = read(path)
    assert cells.groups is None
    (note,) = cells.provenance.notes.splitlines()
    assert note.startswith(f"column {name} (6 values) is not used as groups")
    (finding,) = undeclared(cells)
    assert finding.severity == "warning"
    (noted,) = cells.group_notes
    assert (noted.kind, noted.column, noted.values) == ("undeclared-groups", name, 6)
    message = noted.message
    assert str(finding.message) == str(message)
    assert str(message).startswith(f"{note}; declare them with group_column=")
    (setting,) = [part for part in message.parts if not isinstance(part, str)]
    (quoted,) = [setting.value]
    declared = read(path, group_column=quoted)
    assert declared.groups is not None
    assert declared.groups.tolist() == DONORS
    assert (declared.provenance.notes, undeclared(declared)) == ("", [])


@pytest.mark.parametrize(
    "columns",
    [
        {"donor_age": DONORS},
        {"sample": [f"s{k}" for k in range(CELLS)]},
        {"batch": ["one"] * CELLS},
        # The classes over again.
        {"day": ["1" if label == "a" else "2" for label in LABELS]},
    ],
)
def test_columns_that_part_no_cells_are_not_told(columns: Any, tmp_path: Path) -> None:
    assert read(table(tmp_path, label=LABELS, **columns)).provenance.notes == ""


def test_donors_of_one_class_each_are_told_as_beyond_any_split(tmp_path: Path) -> None:
    plates = [f"{label}{k % 3}" for k, label in enumerate(LABELS)]
    (finding,) = undeclared(read(table(tmp_path, label=LABELS, plate=plates)))
    assert finding.severity == "note"
    assert "no split can show it" in str(finding.message)


def test_who_says_that_there_are_no_groups_is_not_told(tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS, donor=DONORS, group=DONORS)
    cells = read(path, group_column="none")
    assert (cells.groups, cells.provenance.notes) == (None, "")
    with pytest.raises(ConfigError, match="no column 'nobody'"):
        read(path, group_column="nobody")


def test_wider_groups_are_told_first() -> None:
    assert column_notes.group_like(["well", "label", "Donor No.", "plate"]) == [
        "Donor No.",
        "plate",
        "well",
    ]


def test_a_table_beside_a_file_of_cells_tells_too(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", CROPS[:, 0], metadata={"axes": "TYX"}, imagej=True)
    rows = [
        f"{k},{label},{label.upper() if k else 'B'},{donor}"
        for k, (label, donor) in enumerate(zip(LABELS, DONORS, strict=True))
    ]
    (tmp_path / "x.csv").write_text("\n".join(["object_number,label,class,donor", *rows]))
    cells = read(tmp_path / "x.tif")
    assert cells.groups is None
    labels, groups = cells.provenance.notes.splitlines()
    assert "column label was taken as the class, though column class differs" in labels
    assert "column donor (6 values) is not used as groups" in groups
    assert read(tmp_path / "x.tif", group_column="donor").groups is not None
    text = (tmp_path / "x.csv").read_text()
    (tmp_path / "x.csv").write_text(text.replace("\n4,a,A", "\n4,NA,A"))
    with pytest.raises(ReadError, match=r"no label in line 6; NA is read as missing"):
        read(tmp_path / "x.tif")
    (tmp_path / "x.csv").write_text(text.replace(",d1\n", ",NaN\n", 1))
    with pytest.raises(ReadError, match=r"no donor in line 4; NaN is read as missing"):
        read(tmp_path / "x.tif", group_column="donor")


@pytest.mark.parametrize("name", ["donor", "donors", "group", "plate"])
def test_arrays_and_datasets_of_donors_are_told(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=CROPS, labels=LABELS, **{name: DONORS, "age": range(CELLS)})
    cells = read(tmp_path / "x.npz")
    assert (cells.groups, cells.classes, cells.channels) == (None, ("a", "b"), ("channel-1",))
    (finding,) = undeclared(cells)
    assert f"{name} (6 values) is not used as groups" in str(finding.message)
    assert finding.message.worded(as_option).endswith(f"declare them with --option groups={name}")
    assert read(tmp_path / "x.npz", groups=name).provenance.notes == ""
    look = first_look(tmp_path / "x.npz")
    said = [worded(line) for line in lines(look)]
    assert f"  {finding.message.worded(as_option)}" in said
    assert not any("suggest none" in line for line in said)
    assert "not used as groups" in write(look, tmp_path / "t.yaml")[0].read_text().replace(
        "\n# ", " "
    )
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"], file["labels"], file[f"meta/{name}"] = CROPS, LABELS, DONORS
    (finding,) = undeclared(read(tmp_path / "x.h5"))
    assert finding.message.worded(as_option).endswith(
        f"declare them with --option groups=meta/{name}"
    )
    assert read(tmp_path / "x.h5", groups=f"meta/{name}").provenance.notes == ""


def test_donors_of_an_npz_in_splits_are_told(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for split, part in (("train", slice(0, 24)), ("test", slice(24, None))):
        arrays |= {f"{split}_images": CROPS[part, 0], f"{split}_labels": LABELS[part]}
        arrays |= {f"{split}_donor": DONORS[part]}
    np.savez(tmp_path / "x.npz", **arrays)
    found = [str(each.message) for each in undeclared(read(tmp_path / "x.npz"))]
    assert "donor (6 values) is not used as groups" in found[0]
    assert str(found[0]).endswith('declare them with groups="donor"')
    arrays |= {f"{split}_groups": arrays.pop(f"{split}_donor") for split in ("train", "test")}
    np.savez(tmp_path / "x.npz", **arrays)
    declared = read(tmp_path / "x.npz").groups
    assert declared is not None
    assert declared.tolist() == DONORS


# Missing labels and groups


@pytest.mark.parametrize("word", ["NA", "N/A", "NaN", "nan", "NULL", "None", "<NA>"])
def test_missing_labels_of_a_table_are_no_class(word: str, tmp_path: Path) -> None:
    path = table(tmp_path, label=blanked(LABELS, word, 0, 4))
    with pytest.raises(ReadError, match=rf"line 2: no label .*line 6: .*; {word} is read as miss"):
        read(path)
    assert "line 2: no label" in " ".join(map(str, first_look(path).problems))
    # Who names it, has a class of that name.
    named = read(path, class_names=f"a=a,b=b,{word}=other")
    assert named.counts.tolist() == [16, 18, 2]


@pytest.mark.parametrize("word", ["na", "none", "Nan-1", "NAD"])
def test_classes_of_such_names_stay_classes(word: str, tmp_path: Path) -> None:
    assert not column_texts.is_missing(word)
    assert word in read(table(tmp_path, label=blanked(LABELS, word, 0, 4))).classes


@pytest.mark.parametrize("word", ["", "NA", "<NA>"])
def test_missing_groups_of_a_table_are_no_group(word: str, tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS, group=blanked(DONORS, word, 0, 3))
    with pytest.raises(ReadError, match=r'no group in line 2, 5.*group_column="none"'):
        read(path)
    problem = worded(first_look(path).problems[0])
    assert "no group in line 2, 5" in problem
    assert "--option group_column=none" in problem
    look = first_look(path, {"group_column": "none"})
    assert look.problems == []
    assert load_dataset(write(look, tmp_path / "t.yaml")[-1]).groups is None


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([-1, 0, 1], "labels of 12 of 36 cells are -1, which says that they are not known"),
        (["NA", "a", "b"], "labels of 12 of 36 cells are NA"),
        ([np.nan, 0.0, 1.0], "labels"),
    ],
)
def test_missing_labels_of_arrays_are_no_class(
    labels: list[Any], said: str, tmp_path: Path
) -> None:
    given = np.array([labels[k % 3] for k in range(CELLS)])
    np.savez(tmp_path / "x.npz", images=CROPS, labels=given)
    np.savez(tmp_path / "ids.npz", images=CROPS, labels=given, ids=np.arange(CELLS).astype(str))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = CROPS
        file["labels"] = given.tolist()
    for name in ("x.npz", "ids.npz", "x.h5"):
        with pytest.raises(DataError, match=said) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
    if labels[0] == -1:
        names = "0=a,1=b,-1=other"
        assert read(tmp_path / "x.npz", class_names=names).classes == ("a", "b", "other")
        with h5py.File(tmp_path / "x.h5", "a") as file:
            file["classes"] = CLASSES
        assert read(tmp_path / "x.h5").labels.tolist() == given.tolist()
        again = read(tmp_path / "x.h5", class_names="0=dead,1=live")
        assert again.labels.tolist() == given.tolist()


def test_missing_groups_of_arrays_are_no_group(tmp_path: Path) -> None:
    for groups in (
        np.where(np.arange(CELLS) % 9 == 0, np.nan, np.arange(CELLS) // 9),
        np.array(blanked(DONORS, "NaN", 0, 9, 18, 27)),
    ):
        np.savez(tmp_path / "x.npz", images=CROPS, labels=LABELS, groups=groups)
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["images"], file["labels"], file["groups"] = CROPS, LABELS, groups.tolist()
        for name in ("x.npz", "x.h5"):
            with pytest.raises(DataError, match=r"groups are missing for 4 of 36 cells"):
                read(tmp_path / name)


# Two columns of labels


def test_a_second_label_column_that_differs_is_told(tmp_path: Path) -> None:
    kinds = ["x", "y", "z"]
    path = table(tmp_path, label=LABELS, **{"Cell type": [kinds[k % 3] for k in range(CELLS)]})
    said = "column label was taken as the class, though column Cell type differs from it"
    cells = read(path)
    assert cells.classes == ("a", "b")
    assert said in cells.provenance.notes
    (note,) = cells.provenance.notes.splitlines()
    (noted,) = cells.notes_of("other-label")
    assert noted.text == note
    assert "--option 'label_column=Cell type'" in noted.message.worded(as_option)
    assert any(said in str(line) for line in lines(first_look(path)))
    for taken, classes in (("Cell type", ("x", "y", "z")), ("label", ("a", "b"))):
        chosen = read(path, label_column=taken)
        assert (chosen.classes, chosen.provenance.notes) == (classes, "")


def test_a_second_label_column_that_agrees_is_not_told(tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS, phase=[label.upper() for label in LABELS])
    assert read(path).provenance.notes == ""


# What init writes


def test_init_declares_a_column_of_donors(tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS, well=DONORS, **{"Patient ID": DONORS})
    look = first_look(path)
    said = [str(line) for line in lines(look) if str(line).startswith("groups")]
    assert "groups, declared in the manifest: 6 values of Patient ID" in said[0]
    (written,) = write(look, tmp_path / "t.yaml")
    assert "group_column: Patient ID" in written.read_text()
    cells = load_dataset(written)
    assert cells.groups is not None
    assert cells.groups.tolist() == DONORS


def test_init_tells_a_column_of_donors_that_it_does_not_declare(tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS, donor=blanked(DONORS, "NA", 2))
    look = first_look(path)
    assert look.group is None
    assert any("Not declared: 1 cells have no donor" in str(line) for line in lines(look))
    assert "group_column: donor" in (text := write(look, tmp_path / "t.yaml")[0].read_text())
    assert "group_column" not in YAML(typ="safe").load(text)["layout"]["options"]


def test_init_leaves_out_a_group_column_of_one_value(tmp_path: Path) -> None:
    path = table(tmp_path, label=LABELS, group=["g"] * CELLS)
    (finding,) = [f for f in check_dataset(read(path)).findings if f.kind == "one-group"]
    assert finding.severity == "error"
    assert "--option group_column=none" in finding.message.worded(as_option)
    look = first_look(path)
    assert "1 value of group" in " ".join(lines(look))
    (written,) = write(look, tmp_path / "t.yaml")
    assert "group_column: none" in written.read_text()
    report = check_dataset(load_dataset(written))
    assert [each for each in report.findings if each.severity == "error"] == []


def test_a_table_to_fill_in_is_a_csv(tmp_path: Path) -> None:
    table(tmp_path, label=LABELS)
    look = first_look(tmp_path / "images")
    for name in ("x.yaml", "x.tsv", "x"):
        with pytest.raises(ConfigError, match=r"which ends in .csv: out=.labels.csv."):
            write(look, tmp_path / name)
        assert not (tmp_path / name).exists()
    assert write(look, tmp_path / "labels.csv")


def test_each_recipe_that_is_timed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []
    cells = CellDataset.from_arrays(CROPS, LABELS)
    monkeypatch.setattr(timing, "sample", lambda space, count: [BASELINE] * count)
    monkeypatch.setattr("cellsearch.tune.limits.too_large", lambda *_: "")
    monkeypatch.setattr("cellsearch.learn.cost.minutes_per_fold", lambda *_, **__: 0.5)

    def on_progress(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))

    found = timing.estimate(cells, 20, space="quick", budget=8, folds=5, on_progress=on_progress)
    assert found is not None
    assert found.timed == timing.DRAWS
    assert told[:3] == [
        ("timing recipe 1, cnn (0 of 8 timed)", 0, 1),
        ("timing recipe 1, cnn (0 of 8 timed)", 1, 1),
        ("timing recipe 2, cnn (1 of 8 timed)", 0, 1),
    ]
    assert len({stage for stage, _, _ in told}) == timing.DRAWS


# Options of manifests, and names


@pytest.mark.parametrize("call", [cells_to_predict, cells_to_convert])
def test_variants_and_mirrors_of_a_path_are_refused(
    call: Callable[..., CellDataset], tmp_path: Path
) -> None:
    table(tmp_path, label=LABELS)
    more = {"channels": ("channel-1",)} if call is cells_to_predict else {}
    path = str(tmp_path / "images")
    assert len(call(path, **more)) == CELLS
    with pytest.raises(ConfigError, match='variant="foo": only a manifest has variants'):
        call(path, variant="foo", **more)
    with pytest.raises(ConfigError, match='mirror="nosuch": only a manifest has files to fetch'):
        call(path, mirror=Path("nosuch"), **more)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder per class, with one name in Latin-1."""
    for name in CLASSES:
        (tmp_path / "cells" / name).mkdir(parents=True)
        for k in range(8):
            Image.fromarray(CROPS[k, 0]).save(tmp_path / "cells" / name / f"{k}.png")
    try:
        os.rename(  # noqa: PTH104
            tmp_path / "cells" / "a" / "3.png",
            os.fsencode(tmp_path / "cells" / "a") + b"/caf\xe9.png",
        )
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    return tmp_path / "cells"


def test_names_that_are_not_utf8_are_refused_by_every_command(
    odd: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(odd.parent)
    for words in (
        ("init", odd, "--no-estimate"),
        ("datasets", "check", odd),
        ("run", "--dataset", odd, "--space", "quick", "--budget", "1"),
        ("convert", odd, "-o", "x.npz"),
    ):
        code, _, error = cellsearch(capsys, monkeypatch, *words)
        assert code == 2, words
        assert r"'caf\udce9.png'" in error
        assert "rename" in error
    assert not (odd.parent / "x.npz").exists()


def test_other_files_may_have_any_name(odd: Path) -> None:
    bad = os.fsencode(odd / "a") + b"/caf\xe9"
    os.rename(bad + b".png", bad + b".txt")  # noqa: PTH104
    assert len(read(odd)) == 15
    assert first_look(odd).problems == []
    os.rename(odd / "b", os.fsencode(odd) + b"/\xe9")  # noqa: PTH104
    with pytest.raises(ReadError, match=r"1 names are not UTF-8 \('\\udce9'\): rename them"):
        read(odd)
    with pytest.raises(ReadError, match="not UTF-8"):
        first_look(odd)


@pytest.mark.slow
def test_a_run_and_its_audit_tell_of_donors_that_nobody_declared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, out = table(tmp_path, label=LABELS, donor=DONORS), tmp_path / "run"
    words = ("run", "--dataset", path, "--space", "quick", "--budget", 1, "--folds", 2, "-o", out)
    code, _, told = cellsearch(capsys, monkeypatch, *words, "--backend", "local", "--threads", 1)
    assert code == 0
    assert "warning: column donor (6 values) is not used as groups" in told
    code, audit, _ = cellsearch(capsys, monkeypatch, "audit", out)
    assert "none were declared; column donor (6 values) is not used as groups" in audit
    assert "is not used as groups" in (out / "card" / "README.md").read_text()


def test_one_group_has_a_way_out(tmp_path: Path) -> None:
    cells = read(table(tmp_path, label=LABELS, group=["d0"] * CELLS))
    with pytest.raises(SplitError, match=r'all cells are of one group; .*group_column="none"'):
        draw_splits(cells, folds=2)
    free = read(table(tmp_path, label=LABELS, group=["d0"] * CELLS), group_column="none")
    assert draw_splits(free, folds=2).k == 2
