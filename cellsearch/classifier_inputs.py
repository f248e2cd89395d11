"""What scikit-learn hands to a ``CellClassifier``: arrays or flat rows in, cells out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d, validate_data

from cellsearch.data.arrays import readings, seems_last, to_images
from cellsearch.data.columns import column
from cellsearch.data.crop_sizes import bring, choose_fitting, listed_sizes, ragged, sizes_of
from cellsearch.data.dataset import CellDataset
from cellsearch.data.findings import unknown_kind
from cellsearch.data.storage import rows_per_chunk
from cellsearch.errors import DataError, InputError

if TYPE_CHECKING:
    from cellsearch.classifier import CellClassifier

Shape = tuple[int, int, int]
FREE = -1
UNIT = 1.0
"""Where intensities end that were divided by the largest that a camera gives."""


@dataclass(frozen=True)
class Intensities:
    """What pixels a classifier was fitted on.

    Attributes:
        dtype: as the cells hold them: uint8, uint16 or float32.
        low: the smallest.
        high: the largest.
        whole: whether all are whole numbers.
    """

    dtype: str
    low: float
    high: float
    whole: bool

    @classmethod
    def of(cls, images: NDArray[Any]) -> Intensities:
        """Those of (N, C, H, W) cells."""
        return cls(str(images.dtype), float(images.min()), float(images.max()), _all_whole(images))


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
        if isinstance(pixels, np.ndarray):
            _require_one_reading(pixels.shape, estimator.image_shape)
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
            layout="NCHW",
        )
    except DataError as error:
        raise InputError("fit: ", error) from error
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
    accept = estimator.accept
    if isinstance(accept, str) or not isinstance(accept, Iterable):
        found.append(f"accept: expected kinds of findings, as ('duplicate-id',); got {accept!r}")
    else:
        found += [f"accept: {text}" for each in accept if (text := unknown_kind(each))]
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
        raise InputError("fit: ", error) from None


def asked_images(
    estimator: CellClassifier, X: ArrayLike, shape: Shape, fitted: Intensities | None
) -> NDArray[Any]:
    """(N, C, H, W) of what a fitted classifier is asked about.

    Args:
        estimator: the classifier.
        X: (N, C, H, W), (N, H, W) or flat rows.
        shape: (C, H, W) of a cell.
        fitted: what ``fit`` saw, to compare with; None where the model compares itself.

    Raises:
        InputError: cells of another shape, dtype or scale than those it was fitted on.
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
        numbers = _numbers(pixels)
        return to_images(numbers if fitted is None else _as_fitted(numbers, fitted), "NCHW")[0]
    except InputError:
        raise
    except DataError as error:
        raise InputError("predict: ", error) from error


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


def _require_one_reading(shape: Sequence[int], image_shape: Sequence[int] | None) -> None:
    """Refuse (N, A, B, C) whose channels may come last, unless ``image_shape`` says otherwise."""
    if len(shape) != 4 or not seems_last(shape):
        return
    said = tuple(image_shape or ())
    if said and all(a in (FREE, b) for a, b in zip(said, shape[1:], strict=True)):
        return
    raise InputError(
        f"fit: X of shape {tuple(shape)} may be {readings(shape)}: give image_shape="
        f"{tuple(shape[1:])} for the first, or np.moveaxis(X, -1, 1) in place of X for the second"
    )


def _as_fitted(pixels: NDArray[Any], fitted: Intensities) -> NDArray[Any]:
    """Pixels in the dtype of those in ``fit``, where they are on the same scale.

    Whole numbers in floats or in wide integers are the same intensities in another container. 16
    bits whose values happen to fit 8 are a dim picture of another camera.

    Raises:
        InputError: another dtype or scale.
    """
    wanted = np.dtype(fitted.dtype)
    given = pixels.dtype.newbyteorder("=")
    if pixels.size == 0 or (given in (wanted, np.dtype(bool)) and wanted.kind == "u"):
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    whole = _all_whole(pixels)
    unit = given.kind == "f" and low >= 0 and 0 < high <= UNIT < fitted.high
    if wanted.kind == "u":
        container = given.kind == "f" or given.itemsize >= 4
        limits = np.iinfo(wanted)
        fits = container and whole and low >= limits.min and high <= limits.max and not unit
        if fits:
            return pixels.astype(wanted)
    elif fitted.whole:
        fits = whole or not unit
    else:
        # Fractions in fit: camera counts, or a scale that ends far beyond, are not the same.
        span = fitted.high - fitted.low
        beyond = low < fitted.low - span or high > fitted.high + span
        unit_in_fit = fitted.low >= 0 and fitted.high <= UNIT
        fits = not beyond if given.kind in "iub" or unit_in_fit else True
    if not fits:
        raise InputError(
            f"predict: fitted on {fitted.dtype} pixels from {fitted.low:g} to {fitted.high:g}; "
            f"these are {pixels.dtype} from {low:g} to {high:g}: give raw intensities of the same "
            "camera settings as for fit, and rescale both or neither"
        )
    return pixels


def _all_whole(pixels: NDArray[Any]) -> bool:
    if pixels.dtype.kind != "f":
        return True
    step = rows_per_chunk(pixels)
    return all(
        bool((pixels[start : start + step] % 1 == 0).all()) for start in range(0, len(pixels), step)
    )


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
