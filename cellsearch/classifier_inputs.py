"""What scikit-learn hands to a ``CellClassifier``: arrays or flat rows in, cells out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d, validate_data

from cellsearch.data.arrays import to_images
from cellsearch.data.columns import column
from cellsearch.data.crop_sizes import bring, choose_fitting, listed_sizes, ragged, sizes_of
from cellsearch.data.dataset import CellDataset
from cellsearch.errors import DataError, InputError

if TYPE_CHECKING:
    from cellsearch.classifier import CellClassifier

Shape = tuple[int, int, int]
FREE = -1


def training_cells(
    estimator: CellClassifier, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None
) -> tuple[CellDataset, NDArray[Any]]:
    """What ``fit`` learns from; sets ``n_features_in_`` (and the names of a frame's columns).

    Returns:
        The cells, and the (K,) classes as ``y`` spells them, sorted.

    Raises:
        InputError: shapes that do not fit, one class only, or pixels that float32 cannot hold.
        ValueError: whatever else scikit-learn refuses: NaN, no cells, a continuous target.
    """
    require_parameters(estimator)
    crops = ragged(X)
    pixels: NDArray[Any] | list[NDArray[Any]]
    if crops is not None or _dimensions(X) in (3, 4):
        pixels = _stack(X) if crops is None else crops
        if y is None:
            # scikit-learn's own words for it come with a table of numbers only.
            raise InputError("fit: y is needed, a class for each cell; got None")
        targets = column_or_1d(y, warn=True)
        check_consistent_length(pixels, targets)
    else:
        rows, targets = validate_data(estimator, X, y, dtype="numeric")
        pixels = _unfold(rows, estimator.image_shape)
    if targets.dtype.kind == "O":
        _require_known(targets)
    check_classification_targets(targets)
    classes, positions = np.unique(targets, return_inverse=True)
    if len(classes) < 2:
        raise InputError(
            f"fit: 2 classes or more are needed; y holds 1 class, {str(classes[0])!r}, "
            f"for {len(targets)} cells"
        )
    try:
        cells = CellDataset.from_arrays(
            _numbers(pixels) if isinstance(pixels, np.ndarray) else [*map(_numbers, pixels)],
            positions,
            classes=[str(name) for name in classes],
            channels=estimator.channels,
            groups=groups,
            name="cells",
        )
    except DataError as error:
        raise InputError(f"fit: {error}") from error
    estimator.n_features_in_ = int(np.prod(cells.images.shape[1:]))
    return cells, classes


def require_parameters(estimator: CellClassifier) -> None:
    """Refuse parameters of the estimator that are out of bounds, all at once.

    Raises:
        InputError: what is wrong.
    """
    found = []
    seed, threads, shape = estimator.seed, estimator.threads, estimator.image_shape
    if not _whole(seed) or seed < 0:
        found.append(f"seed: expected an integer of 0 or more, got {seed!r}")
    if threads is not None and (not _whole(threads) or threads < 1):
        found.append(f"threads: expected None or an integer of 1 or more, got {threads!r}")
    if shape is not None and not (
        isinstance(shape, Sequence | np.ndarray) and len(shape) == 3 and all(map(_whole, shape))
    ):
        found.append(
            f"image_shape: expected (channels, height, width) as integers, of which one may be -1; "
            f"got {shape!r}"
        )
    if found:
        raise InputError("; ".join(found))


def weights_of(sample_weight: ArrayLike | None, cells: int) -> NDArray[np.float64] | None:
    """(N,) float64 weights of cells, 0 or more.

    Raises:
        InputError: another length, weights below 0 or not finite, or none above 0.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, np.float64)
    if weights.shape != (cells,):
        raise InputError(f"sample_weight: {cells} cells, but weights of shape {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise InputError("sample_weight: expected finite weights of 0 or more, and one above 0")
    return weights


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _require_known(targets: NDArray[Any]) -> None:
    try:
        column(targets, "y", len(targets), remedy="leave these cells out of X and y")
    except DataError as error:
        raise InputError(f"fit: {error}") from None


def asked_images(estimator: CellClassifier, X: ArrayLike, shape: Shape) -> NDArray[Any]:
    """(N, C, H, W) of what a fitted classifier is asked about.

    Raises:
        InputError: cells of another shape than those it was fitted on.
        ValueError: whatever else scikit-learn refuses.
    """
    crops = ragged(X)
    if crops is not None or _dimensions(X) in (3, 4):
        pixels = _of_size(_stack(X) if crops is None else crops, estimator.size_rule_, shape)
        found = pixels.shape[1:] if pixels.ndim == 4 else (1, *pixels.shape[1:])
        if found != shape:
            raise InputError(
                f"predict: fitted on cells of {_spelt(shape)} (channels x height x width); "
                f"these are {_spelt(found)}"
            )
    else:
        rows = validate_data(estimator, X, dtype="numeric", reset=False)
        pixels = rows.reshape(len(rows), *shape)
    try:
        return to_images(_numbers(pixels))[0]
    except DataError as error:
        raise InputError(f"predict: {error}") from error


def _of_size(crops: NDArray[Any] | list[NDArray[Any]], rule: str, shape: Shape) -> NDArray[Any]:
    """Cells of other sizes brought to the one fitted on, where ``fit`` was given several.

    Raises:
        InputError: they are refused, or cannot be brought to it.
    """
    wanted = shape[1:]
    if isinstance(crops, np.ndarray) and (rule == "refuse" or crops.shape[-2:] == wanted):
        return crops
    deep = [crop if crop.ndim == 3 else crop[None] for crop in crops]
    names = [f"cell {number}" for number in range(len(deep))]
    if rule == "refuse":
        found = listed_sizes(sizes_of(deep), names)
        raise InputError(f"predict: fitted on cells of {_spelt(wanted)} px; these are {found}")
    kinds = {(len(crop), crop.dtype) for crop in deep}
    if len(kinds) > 1 or len(deep[0]) != shape[0]:
        there = sorted(f"{depth} channels of {dtype}" for depth, dtype in kinds)
        raise InputError(
            f"predict: fitted on cells of {shape[0]} channels; these have {', '.join(there)}"
        )
    try:
        fitting = choose_fitting(sizes_of(deep), names, size=wanted, fit="shrink")
    except DataError as error:
        raise InputError("predict: ", error) from error
    return np.stack(deep) if fitting is None else bring(deep, fitting)


def known_labels(y: ArrayLike, classes: NDArray[Any], cells: int) -> NDArray[np.int64]:
    """(N,) positions of true labels in the classes of a fitted classifier.

    Raises:
        InputError: another number of labels, or one that the classifier never saw.
    """
    labels = column_or_1d(y)
    if len(labels) != cells:
        raise InputError(f"score: {cells} cells, but {len(labels)} labels")
    position = {name: k for k, name in enumerate(classes.tolist())}
    unknown = sorted({str(name) for name in labels.tolist() if name not in position})
    if unknown:
        raise InputError(
            f"score: labels that the classifier was not fitted on: {', '.join(unknown[:10])}; "
            f"it knows {', '.join(map(str, classes.tolist()))}"
        )
    return np.array([position[name] for name in labels.tolist()], np.int64)


def _dimensions(X: ArrayLike) -> int:
    found = getattr(X, "ndim", None)
    return int(np.asarray(X).ndim if found is None else found)


def _stack(X: ArrayLike) -> NDArray[Any]:
    pixels: NDArray[Any] = check_array(X, dtype="numeric", ensure_2d=False, allow_nd=True)
    return pixels


def _unfold(rows: NDArray[Any], shape: Sequence[int] | None) -> NDArray[Any]:
    """(N, F) flat rows to (N, C, H, W)."""
    if shape is None:
        raise InputError(
            f"fit: X has shape {rows.shape}, a flat row for each cell; give cells as "
            "(N, channels, height, width) or (N, height, width), or say how a row is laid out: "
            "image_shape=(channels, height, width)"
        )
    sides = tuple(int(side) for side in shape)
    if len(sides) != 3 or sides.count(FREE) > 1 or any(side < 1 for side in sides if side != FREE):
        raise InputError(
            "image_shape: expected (channels, height, width), of which one may be -1 (what is "
            f"left); got {shape!r}"
        )
    known = int(np.prod([side for side in sides if side != FREE]))
    values = rows.shape[1]
    if values % known or (FREE not in sides and values != known):
        raise InputError(f"image_shape: {_spelt(sides)} does not hold the {values} values of a row")
    return rows.reshape(len(rows), *sides)


def _numbers(pixels: NDArray[Any]) -> NDArray[Any]:
    """Integers and float32 as they are, all else as the nearest float32."""
    if pixels.dtype.kind in "iub" or pixels.dtype == np.float32:
        return pixels
    with np.errstate(over="ignore"):
        converted = pixels.astype(np.float32)
    if not np.isfinite(converted).all():
        raise InputError("X holds a value too large for float32; rescale the pixels")
    return converted


def _spelt(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
