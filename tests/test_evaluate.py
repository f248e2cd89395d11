"""cross_validate and the record of a fold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cellsearch.data.dataset import CellDataset
from cellsearch.data.splits import Splits
from cellsearch.errors import RunError
from cellsearch.learn.evaluate import FoldResult, cross_validate, fold_seed, pooled
from cellsearch.learn.precision import Precision
from cellsearch.space.recipe import CnnModel, Recipe, Train

PLAIN = Precision("float32", channels_last=False)
RECIPE = Recipe(
    model=CnnModel(depth=1, width=8, kernel=(3,), head_layers=0, head=()),
    train=Train(batch_size=32, epochs=2),
)


@pytest.fixture(scope="module")
def splits(tiny_dataset: CellDataset) -> Splits:
    """Three folds of 27 cells, 6 cells that only train, 3 in the hold-out."""
    order = np.random.default_rng(0).permutation(len(tiny_dataset))
    return Splits(
        holdout=np.sort(order[:3]),
        folds=tuple(np.sort(order[9 + fold :: 3]) for fold in range(3)),
        train_only=np.sort(order[3:9]),
        not_estimable=(),
        seed=0,
        dataset_sha256=tiny_dataset.sha256,
    )


@pytest.fixture(scope="module")
def results(tiny_dataset: CellDataset, splits: Splits) -> list[FoldResult]:
    return list(cross_validate(RECIPE, tiny_dataset, splits, seed=7, device="cpu", precision=PLAIN))


def test_every_fold_predicts_its_validation_cells(
    results: list[FoldResult], splits: Splits
) -> None:
    assert [result.fold for result in results] == [0, 1, 2]
    for result in results:
        np.testing.assert_array_equal(result.cells, splits.validation(result.fold))
        assert result.probabilities.shape == (len(result.cells), 3)
        assert result.probabilities.dtype == np.float32
        assert (result.epochs, result.precision) == (2, "fp32")
        assert result.seconds > 0
        assert result.images_per_second > 0
        assert [record["epoch"] for record in result.history] == [1, 2]


@pytest.mark.slow
def test_a_fold_is_the_same_whatever_came_before(
    tiny_dataset: CellDataset, splits: Splits, results: list[FoldResult]
) -> None:
    again = list(
        cross_validate(
            RECIPE, tiny_dataset, splits, seed=7, folds=[2, 0], device="cpu", precision=PLAIN
        )
    )
    assert [result.fold for result in again] == [2, 0]
    for result in again:
        np.testing.assert_array_equal(result.probabilities, results[result.fold].probabilities)


def test_folds_come_one_at_a_time(tiny_dataset: CellDataset, splits: Splits) -> None:
    stream = cross_validate(RECIPE, tiny_dataset, splits, seed=7, device="cpu", precision=PLAIN)
    assert next(stream).fold == 0
    stream.close()


@pytest.mark.slow
def test_one_precision_serves_all_folds(
    tiny_dataset: CellDataset, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def choose(*_: object, **__: object) -> Precision:
        asked.append(1)
        return Precision("float32", channels_last=True)

    monkeypatch.setattr("cellsearch.learn.training.choose_precision", choose)
    found = list(cross_validate(RECIPE, tiny_dataset, splits, seed=7, device="cpu"))
    assert [result.precision for result in found] == ["fp32+channels_last"] * 3
    assert len(asked) == 1


def test_threads_are_given_back(tiny_dataset: CellDataset, splits: Splits) -> None:
    before = torch.get_num_threads()
    wanted = before + 1
    seen: list[int] = []
    stream = cross_validate(
        RECIPE, tiny_dataset, splits, seed=7, device="cpu", threads=wanted, precision=PLAIN
    )
    with pytest.MonkeyPatch.context() as patch:
        from cellsearch.learn import evaluate

        fit = evaluate.fit

        def spy(*args: object, **options: object) -> object:
            seen.append(torch.get_num_threads())
            return fit(*args, **options)

        patch.setattr(evaluate, "fit", spy)
        next(stream)
    assert seen == [wanted]
    assert torch.get_num_threads() == before


def test_fold_seeds_differ_by_seed_and_fold() -> None:
    assert len({fold_seed(seed, fold) for seed in range(20) for fold in range(5)}) == 100


def test_pooled_puts_the_folds_together(
    tiny_dataset: CellDataset, splits: Splits, results: list[FoldResult]
) -> None:
    bare = [replace(result, priors=None) for result in results]
    cells, predicted, matrix = pooled(bare[::-1], tiny_dataset.labels, 3)
    np.testing.assert_array_equal(cells, np.sort(np.concatenate(splits.folds)))
    by_hand = np.zeros((3, 3), dtype=int)
    for result in results:
        for cell, row in zip(result.cells, result.probabilities, strict=True):
            by_hand[tiny_dataset.labels[cell], row.argmax()] += 1
    np.testing.assert_array_equal(matrix, by_hand)
    where = np.searchsorted(cells, results[1].cells)
    np.testing.assert_array_equal(predicted[where], results[1].probabilities.argmax(axis=1))
    _, balanced, _ = pooled(results[::-1], tiny_dataset.labels, 3)
    by_prior = results[1].probabilities / np.array(results[1].priors.effective)
    np.testing.assert_array_equal(balanced[where], by_prior.argmax(axis=1))


def test_pooled_refuses_a_fold_twice_and_takes_none(
    tiny_dataset: CellDataset, results: list[FoldResult]
) -> None:
    with pytest.raises(RunError, match="same cell"):
        pooled([results[0], results[0]], tiny_dataset.labels, 3)
    cells, _, matrix = pooled([], tiny_dataset.labels, 3)
    assert len(cells) == matrix.sum() == 0


def test_a_fold_survives_its_file(results: list[FoldResult], tmp_path: Path) -> None:
    path = tmp_path / "trials" / "0007" / "fold-1.npz"
    results[1].save(path)
    back = FoldResult.load(path)
    np.testing.assert_array_equal(back.cells, results[1].cells)
    np.testing.assert_array_equal(back.probabilities, results[1].probabilities)
    assert back.probabilities.dtype == np.float32
    for name in ("fold", "seconds", "images_per_second", "epochs", "history", "precision"):
        assert getattr(back, name) == getattr(results[1], name)
    assert [file.name for file in path.parent.iterdir()] == ["fold-1.npz"]


def test_a_torn_file_is_refused(results: list[FoldResult], tmp_path: Path) -> None:
    path = tmp_path / "fold-0.npz"
    results[0].save(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match="not a fold's record"):
        FoldResult.load(path)
    with pytest.raises(RunError, match="not a fold's record"):
        FoldResult.load(tmp_path / "none.npz")


def test_a_fold_that_cannot_be_written_says_so(results: list[FoldResult], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="fold 0: cannot be written"):
        results[0].save(tmp_path / "file" / "fold-0.npz")
