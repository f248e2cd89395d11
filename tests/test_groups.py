"""Groups that nobody declared: what names suggest, and whether images give them away."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cellsearch import cli
from cellsearch.data.check import check_dataset
from cellsearch.data.dataset import CellDataset, Provenance
from cellsearch.data.group_probe import group_lines, probe_groups
from cellsearch.data.readers.stack import find_groups
from cellsearch.data.splits import draw_splits
from cellsearch.data.suggested_groups import suggest_groups
from cellsearch.errors import DataError
from cellsearch.learn.fold_result import FoldResult
from cellsearch.learn.provenance import GeneratorTrace, indices_sha256
from cellsearch.learn.provenance import Provenance as MadeOf
from cellsearch.terminal.tables import held_out_groups
from cellsearch.util.wording import as_option

CLASSES = ("ab", "cd")


def cells_of(
    sources: list[str] | None, ids: list[str] | None = None, **more: object
) -> CellDataset:
    n = len(sources or ids or ())
    return CellDataset.from_arrays(
        np.random.default_rng(0).integers(0, 255, (n, 1, 8, 8), np.uint8),
        np.arange(n) % 2,
        classes=CLASSES,
        sources=sources,
        ids=ids,
        **more,
    )


def folder(n: int) -> str:
    return CLASSES[n % 2]


@pytest.mark.parametrize(
    ("source", "what", "groups"),
    [
        (lambda n: f"{folder(n)}/donor{n % 3}_{n:03d}.png", "donor", 3),
        (lambda n: f"{folder(n)}/{n:03d}-Plate-{'AB'[n // 30]}.png", "plate", 2),
        (lambda n: f"{folder(n)}/2024-01-{n % 4 + 10}_{n:03d}.png", "date", 4),
        (
            lambda n: f"{folder(n)}/20240110T10{n % 4 + 10}00_{n:03d}.png",
            "time of acquisition",
            4,
        ),
        (lambda n: f"montage_{n // 10}.tif", "montage", 6),
        (lambda n: f"{n // 10}.tif", "source file", 6),
        (lambda n: f"{folder(n)}/west/{n:03d}.png", None, 0),
        (lambda n: f"{folder(n)}/{'we'[n // 30]}/{n:03d}.png", "folder", 2),
        (lambda n: f"{folder(n)}/{'KLM'[n % 3]}-x{n:03d}.png", "beginning of the name", 3),
        (lambda n: f"{folder(n)}/cell_{n:03d}.png", None, 0),
        (lambda n: f"{folder(n)}/{folder(n)}_{n:03d}.png", None, 0),
        (lambda n: f"images/{n:03d}.png", None, 0),
        # A word for each cell is a name of the cell.
        (lambda n: f"{folder(n)}/sample{n:03d}.png", None, 0),
    ],
)
def test_what_names_suggest(source, what: str | None, groups: int) -> None:
    cells = cells_of([source(n) for n in range(60)])
    found = suggest_groups(cells)
    if what is None:
        assert found == ()
        return
    assert found[0].what == what
    assert len(found[0].counts) == groups
    # What is said to be the remedy catches just these groups.
    caught = find_groups(found[0].pattern, cells.sources.tolist())
    assert caught == found[0].names.tolist()


def test_ids_tell_where_there_are_no_files() -> None:
    found = suggest_groups(cells_of(None, [f"tile/m{n // 10}:{n % 10}" for n in range(60)]))
    assert (found[0].what, len(found[0].counts)) == ("source file", 6)
    assert "groups= of CellDataset.from_arrays" in str(found[0].remedy)


def test_declared_groups_and_generated_cells_suggest_nothing() -> None:
    names = [f"donor{n % 3}_{n}.png" for n in range(60)]
    assert suggest_groups(cells_of(names))
    assert not suggest_groups(cells_of(names, groups=[name[:6] for name in names]))
    assert not suggest_groups(cells_of(names, provenance=Provenance(synthetic=True)))


def test_the_check_warns_and_says_how_to_declare() -> None:
    cells = cells_of([f"{folder(n)}/donor{n % 3}_{n:03d}.png" for n in range(60)])
    (finding,) = [f for f in check_dataset(cells).findings if f.kind == "undeclared-groups"]
    assert finding.severity == "warning"
    assert "3 values of donor (donor0 20 cells, donor1 20 cells, donor2 20 cells)" in str(
        finding.message
    )
    assert "--option 'group_pattern=" in finding.message.worded(as_option)


def test_groups_of_one_class_each_are_said_to_be_beyond_any_split() -> None:
    cells = cells_of([f"m{n // 20}{folder(n)}.tif" for n in range(60)])
    (finding,) = [f for f in check_dataset(cells).findings if f.kind == "undeclared-groups"]
    assert finding.severity == "note"
    assert "what tells classes apart may be the source file" in str(finding.message)


def test_the_montages_of_the_jurkat_cells_are_seen() -> None:
    montages = {f"Experiment_1/{phase}/Ch3.tif": phase for phase in ("G1", "S", "Anaphase")}
    montages |= {f"Experiment_2/G1/Ch3_CP000{n}.tif": "G1" for n in range(1, 6)}
    sources = [name for name in montages for _ in range(15)]
    cells = CellDataset.from_arrays(
        np.zeros((len(sources), 1, 8, 8), np.uint8),
        [montages[name] for name in sources],
        sources=sources,
    )
    experiment, file = suggest_groups(cells)
    assert (experiment.what, len(experiment.counts)) == ("experiment", 2)
    assert not experiment.one_class_each
    assert (file.what, len(file.counts)) == ("source file", 8)
    assert "name a group for each montage in the manifest" in str(experiment.remedy)
    assert file.one_class_each


# The probe


def stained(shift: float, *, groups: int = 3, n: int = 150) -> tuple[CellDataset, np.ndarray]:
    """Cells whose brightness depends on class, and by ``shift`` on the donor."""
    rng = np.random.default_rng(0)
    labels, donor = rng.integers(0, 2, n), rng.integers(0, groups, n)
    images = rng.normal(80, 10, (n, 1, 16, 16))
    images[:, :, 4:12, 4:12] += (60 + 30 * labels)[:, None, None, None]
    images += shift * donor[:, None, None, None]
    names = np.array([f"donor{each}" for each in donor])
    cells = CellDataset.from_arrays(
        images.clip(0, 255).astype(np.uint8), labels, classes=CLASSES, ids=range_names(n)
    )
    return cells, names


def range_names(n: int) -> list[str]:
    return [f"c{k:04d}" for k in range(n)]


def test_the_probe_finds_a_batch_effect() -> None:
    cells, names = stained(6.0)
    probe = probe_groups(cells, names, what="donor", permutations=19)
    assert probe.told_apart
    assert probe.low > 0.6
    assert probe.chance == pytest.approx(1 / 3, abs=0.06)
    assert re.search(
        r"the donor can be recognised from the image: balanced accuracy 0\.\d\d", probe.describe()
    )
    assert "batch effect" in probe.describe()


def test_the_probe_finds_nothing_where_there_is_nothing() -> None:
    cells, names = stained(0.0)
    probe = probe_groups(cells, names, what="donor", permutations=19)
    assert not probe.told_apart
    assert probe.low < 0.45
    assert "no evidence that the donor can be recognised" in probe.describe()


def test_what_only_classes_tell_is_no_batch_effect() -> None:
    cells, _ = stained(0.0, n=300)
    # Donor and class go together, nine cells of ten.
    rng = np.random.default_rng(1)
    own = np.where(rng.random(len(cells)) < 0.9, cells.labels, 1 - cells.labels)
    probe = probe_groups(cells, np.array(["east", "west"])[own], what="donor", permutations=19)
    assert probe.balanced_accuracy > 0.8
    assert probe.chance > 0.8
    assert not probe.told_apart


def test_groups_of_one_class_each_cannot_be_probed() -> None:
    cells, _ = stained(0.0)
    names = np.array(["east", "west"])[cells.labels]
    with pytest.raises(DataError, match="apart from their class"):
        probe_groups(cells, names)
    (line,) = group_lines(CellDataset.from_arrays(cells.images, cells.labels, groups=names))
    assert "was not probed" in str(line)


@pytest.mark.slow
def test_datasets_check_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, names = stained(6.0, n=60)
    np.savez(tmp_path / "cells.npz", images=cells.images, labels=cells.labels)
    monkeypatch.setattr(
        "cellsearch.data.group_probe.suggest_groups",
        lambda _: (replace(suggested(), names=names),),
    )
    monkeypatch.setattr("cellsearch.data.group_probe.PERMUTATIONS", 3)
    words = ["cellsearch", "datasets", "check", tmp_path / "cells.npz", "--groups"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    with pytest.raises(SystemExit):
        cli.main()
    assert re.search(r"groups: .*donor can be recognised from the image", capsys.readouterr().out)


def suggested():
    return suggest_groups(cells_of([f"donor{n % 3}_{n:03d}.png" for n in range(60)]))[0]


# What a fold was made of


def test_the_cells_of_a_fold_survive_its_file(tmp_path: Path) -> None:
    learnt = np.array([2, 3, 18])
    made = MadeOf(
        cells=19,
        trained=np.array([0, 2, 3, 18]),
        watched=np.array([5]),
        normalised=np.array([0, 2]),
        generators=(GeneratorTrace("ab", indices_sha256(learnt), learnt),),
    )
    plain = FoldResult(1, np.array([7, 9]), np.eye(2, dtype=np.float32), 1.0, 1.0, 1, ())
    replace(plain, provenance=made).save(tmp_path / "fold-1.npz")
    found = FoldResult.load(tmp_path / "fold-1.npz").provenance
    for name in ("trained", "watched", "normalised"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
    assert found.cells == 19
    np.testing.assert_array_equal(found.generators[0].learnt_from, learnt)
    assert found.generators[0].indices_sha256 == indices_sha256(learnt)
    plain.save(tmp_path / "fold-0.npz")
    assert FoldResult.load(tmp_path / "fold-0.npz").provenance is None


@pytest.mark.parametrize(("groups", "held"), [(5, 1), (6, 3), (60, 12)])
def test_a_run_says_how_many_groups_are_held_out(groups: int, held: int) -> None:
    cells = cells_of(
        None,
        ids=[f"{n:03d}" for n in range(120)],
        groups=[f"g{n * groups // 120}" for n in range(120)],
    )
    splits = draw_splits(cells, folds=2, seed=0)
    lines = held_out_groups(cells, splits)
    assert lines[0] == f"groups: {groups}, of which {held} in the hold-out"
    assert (len(lines) == 2) == (held == 1)
    assert held_out_groups(replace(cells, groups=None), splits) == []
