"""What a card shows beyond its figures: curves, saliency, a map, generated cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsearch.card import curve_plots, embedding, plots, saliency
from cellsearch.card.embedding import Embedding, Projection
from cellsearch.card.explain import NotExplained, features
from cellsearch.card.explain import saliency as attributions
from cellsearch.card.export import Fitted
from cellsearch.card.generated import GeneratorFigures, draw_generated, file_names
from cellsearch.card.parts import write_json
from cellsearch.card.saliency import Saliency
from cellsearch.card.saliency_plot import saliency_plot
from cellsearch.data.dataset import CellDataset
from cellsearch.stats.curves import Curves, curves_as_json, one_against_rest
from cellsearch.stats.predictions import Predictions

CURVES = "curves.json"


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was drawn.

    Attributes:
        members: networks in the card; the first that looks at pixels is looked into.
        curves_holdout: of each class.
        curves_oof: of each class; None where no out-of-fold probabilities were given.
        saliency: None where the network has no gradient.
        saliency_reason: why there is none; empty where there is.
        embedding: of the hold-out.
        embedding_notes: what was not as asked for; empty where all was.
    """

    members: int
    curves_holdout: Curves
    curves_oof: Curves | None
    saliency: Saliency | None
    saliency_reason: str
    embedding: Embedding
    embedding_notes: tuple[str, ...]


def write_evidence(
    folder: Path,
    predictors: Sequence[Fitted],
    dataset: CellDataset,
    held: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    predicted: NDArray[np.int64],
    oof: Predictions,
    *,
    not_estimable: tuple[str, ...],
    generators: Sequence[GeneratorFigures] = (),
    projection: Projection = "tsne",
    seed: int = 0,
) -> Evidence:
    """Write ``curves.json``, ``saliency.npz``, ``embedding.csv`` and their pictures.

    Args:
        folder: of the card; ``plots`` lies in it.
        predictors: of the card; the first that looks at pixels is looked into.
        dataset: all cells.
        held: (n,) positions of the hold-out.
        probabilities: (n, K) of the hold-out.
        predicted: (n,) classes that its cells are given.
        oof: out-of-fold predictions.
        not_estimable: classes that get no curve.
        generators: of classes with generated cells.
        projection: of the map.
        seed: of every choice and of the map.
    """
    labels = np.asarray(dataset.labels[held], dtype=np.int64)
    groups = None if dataset.groups is None else np.asarray(dataset.groups)
    curves = [
        one_against_rest(
            labels,
            probabilities,
            dataset.classes,
            not_estimable=not_estimable,
            groups=None if groups is None else groups[held],
            seed=seed,
        )
    ]
    if oof.probabilities is not None:
        curves.append(
            one_against_rest(
                oof.labels,
                oof.probabilities,
                dataset.classes,
                not_estimable=not_estimable,
                groups=None if groups is None or oof.cells is None else groups[oof.cells],
                seed=seed,
            )
        )
    of_oof = curves[1] if len(curves) > 1 else None
    _write_curves(folder, curves[0], of_oof)
    # Of an ensemble, one that looks at pixels.
    shown = next((each for each in predictors if not _measures(each)), predictors[0])
    found, reason = _write_saliency(folder, shown, dataset, held, labels, probabilities, predicted)
    laid, notes = _write_embedding(
        folder,
        shown,
        dataset,
        held,
        probabilities,
        predicted,
        projection=projection,
        seed=seed,
    )
    for name, one in zip(file_names(generators), generators, strict=True):
        plots.save(draw_generated(one, dataset.channels), folder / "plots", name)
    return Evidence(
        members=len(predictors),
        curves_holdout=curves[0],
        curves_oof=of_oof,
        saliency=found,
        saliency_reason=reason,
        embedding=laid,
        embedding_notes=notes,
    )


def _write_curves(folder: Path, holdout: Curves, oof: Curves | None) -> None:
    write_json(
        folder / CURVES,
        {"hold_out": curves_as_json(holdout), "out_of_fold": curves_as_json(oof)},
    )
    for curves, where, title in (
        (holdout, "hold_out", "hold-out"),
        (oof, "out_of_fold", "out-of-fold"),
    ):
        if curves is None or not curves.classes:
            continue
        roc = curve_plots.roc(curves, title=f"ROC, {title}")
        plots.save(roc, folder / "plots", f"roc_{where}")
        pr = curve_plots.precision_recall(curves, title=f"Precision and recall, {title}")
        plots.save(pr, folder / "plots", f"precision_recall_{where}")


def _write_saliency(
    folder: Path,
    predictor: Fitted,
    dataset: CellDataset,
    held: NDArray[np.int64],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    predicted: NDArray[np.int64],
) -> tuple[Saliency | None, str]:
    """What was found, or why nothing was."""
    if _measures(predictor):
        return None, "the model sees measured features, not pixels"
    examples = saliency.choose(labels, probabilities, predicted)
    cells = held[examples.rows]
    images = np.asarray(dataset.images[cells])
    try:
        maps, steps = attributions(predictor.module, images, examples.predicted)
    except NotExplained as error:
        return None, str(error)
    found = saliency.explained(examples, maps, steps)
    saliency.save_maps(folder, found, dataset.ids[cells], dataset)
    plots.save(saliency_plot(found, images, dataset), folder / "plots", "saliency")
    return found, ""


def _write_embedding(
    folder: Path,
    predictor: Fitted,
    dataset: CellDataset,
    held: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    predicted: NDArray[np.int64],
    *,
    projection: Projection,
    seed: int,
) -> tuple[Embedding, tuple[str, ...]]:
    labels = np.asarray(dataset.labels[held], dtype=np.int64)
    rows = embedding.choose(labels, seed=seed)
    notes = []
    values = np.log(np.maximum(probabilities[rows], 1e-6))
    of = "log-probabilities"
    if not _measures(predictor):
        try:
            values = features(
                predictor.module, np.asarray(dataset.images[held[rows]]), len(dataset.classes)
            )
            of = "features before the last dense layer"
        except NotExplained as error:
            notes.append(f"log-probabilities stand in for features: {error}")
    places, method = embedding.laid_out(values, projection=projection, seed=seed)
    if projection == "umap" and method == "t-SNE":
        notes.append("UMAP was requested but is not installed (`pip install umap-learn`)")
    found = Embedding(rows, places, method, of)
    embedding.save_table(folder, found, dataset, held, predicted)
    picture = embedding.embedding_plot(found, labels[rows], predicted[rows], dataset.classes)
    plots.save(picture, folder / "plots", "embedding")
    return found, tuple(notes)


def _measures(predictor: Fitted) -> bool:
    """Whether its module takes measured features in place of pixels."""
    return any(getattr(it, "measures", False) for it in (predictor, predictor.module))
