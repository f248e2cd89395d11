"""Whether images suit a card, and how a crop of another size is brought to the card's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from cellsearch.card.config import CardConfig, Fit, spread_out
from cellsearch.data.arrays import FILL
from cellsearch.errors import CardError, DataError
from cellsearch.util.messages import Setting, first_line

if TYPE_CHECKING:
    from cellsearch.data.crop_sizes import Fitting

Images = NDArray[Any] | Sequence[NDArray[Any]]


def prepare(images: Images, config: CardConfig, *, fit: str | None = None) -> NDArray[Any]:
    """Check images against a card and bring them to its size.

    Args:
        images: (N, C, H, W) raw intensities, or a sequence of (C, h, w) of any sizes; of the
            card's own dtype.
        config: of the card.
        fit: ``refuse``, ``pad``, ``shrink`` or ``resize`` another size; by default the card's
            own rule.

    Returns:
        (N, C, H, W) in the card's dtype and size; not copied where nothing had to change.

    Raises:
        CardError: another number of channels, dtype or size, values of quite another range, NaN.
    """
    images = _as_arrays(images)
    _require_shape(images, config)
    _require_dtype(images, config)
    fitted = _fitted(images, config, fit_rule(config, fit))
    _require_finite(fitted)
    _require_range(fitted, config)
    return fitted


def fit_rule(config: CardConfig, asked: str | None) -> str:
    """What is done with crops of another size: as asked, else the card's own rule.

    Raises:
        CardError: no such rule.
    """
    rule = asked or config.fit
    if rule not in get_args(Fit):
        raise CardError(
            Setting("fit"), f": must be one of {', '.join(get_args(Fit))}; got {rule!r}"
        )
    return rule


def graph_inputs(cells: NDArray[Any], config: CardConfig) -> dict[str, NDArray[Any]]:
    """What a card's graph takes of (N, C, H, W) images that ``prepare`` gave, without torch.

    By the names of its inputs: the images, the (N, F) float32 features measured on them, or both.

    Raises:
        CardError: images too small to be measured.
    """
    if config.features is None:
        return {config.onnx.input: cells}
    from cellsearch.data.features import measure

    try:
        features = measure(cells)
    except DataError as error:
        raise CardError(error) from None
    if config.onnx.features is None:
        return {config.onnx.input: features}
    return {config.onnx.input: cells, config.onnx.features: features}


def require_known_features(folder: Path, config: CardConfig) -> None:
    """Refuse a card whose features this cellsearch measures in another way.

    Raises:
        CardError: another version of the features, or other ones.
    """
    from cellsearch.data.features import FEATURES_VERSION, feature_names

    assert config.features is not None
    if config.features.version != FEATURES_VERSION:
        raise CardError(
            f"{folder} was trained on features of version {config.features.version}; this "
            f"cellsearch measures version {FEATURES_VERSION}: use cellsearch "
            f"{config.cellsearch_version}, which wrote the card"
        )
    if config.features.names != feature_names(config.channels):
        raise CardError(
            f"{folder} contradicts itself: its features are not those of version "
            f"{FEATURES_VERSION} for channels {', '.join(config.channels)}"
        )


def _as_arrays(images: Any) -> Images:
    if isinstance(images, np.ndarray):
        return images
    if isinstance(images, list | tuple):
        try:
            return [np.asarray(image) for image in images]
        except (TypeError, ValueError, RuntimeError) as error:
            raise CardError(f"images cannot be made arrays: {first_line(error)}") from None
    if isinstance(images, Sequence) and not isinstance(images, str):
        return images
    raise CardError(
        "images must be an array (cells, channels, height, width) or a list of arrays, got "
        f"{type(images).__name__}; of a CellDataset give its .images"
    )


def _require_shape(images: Images, config: CardConfig) -> None:
    if not len(images):
        raise CardError("no images were given")
    if isinstance(images, np.ndarray) and images.ndim != 4:
        raise CardError(
            f"images must be (cells, channels, height, width), got shape {images.shape}"
        )
    odd = [image.shape for image in images if image.ndim != 3]
    if odd:
        raise CardError(f"each image must be (channels, height, width), got shape {odd[0]}")
    wanted = len(config.channels)
    counts = sorted({image.shape[0] for image in images})
    if counts != [wanted]:
        hint = ""
        if all(image.shape[-1] == wanted for image in images):
            hint = "; the channels seem to come last: they must come before height and width"
        raise CardError(
            f"this card takes {wanted} channel{'s' * (wanted > 1)} ({', '.join(config.channels)}), "
            f"the images have {' or '.join(map(str, counts))}{hint}"
        )


def _require_dtype(images: Images, config: CardConfig) -> None:
    found = sorted({str(image.dtype) for image in images})
    if found != [config.dtype]:
        raise CardError(
            f"this card was trained on {config.dtype} images with {_ranges(config)}; these are "
            f"{' and '.join(found)}: give the raw intensities with the same camera settings, not "
            "rescaled ones"
        )


def size_note(images: Images, config: CardConfig, *, fit: str | None = None) -> str:
    """What ``prepare`` does to crops of another size, with counts; "" where all have the card's.

    Raises:
        CardError: sizes that are refused.
    """
    fitting = _fitting(images, config, fit_rule(config, fit))
    return "" if fitting is None else fitting.note


def _fitted(images: Images, config: CardConfig, fit: str) -> NDArray[Any]:
    fitting = _fitting(images, config, fit)
    if fitting is None:
        return images if isinstance(images, np.ndarray) else np.stack(list(images))
    # The readers' own: a crop must be changed here as it was for training.
    from cellsearch.data.crop_sizes import bring

    return bring(images, fitting)


def _fitting(images: Images, config: CardConfig, fit: str) -> Fitting | None:
    from cellsearch.data.crop_sizes import choose_fitting, sizes_of

    wanted = (config.height, config.width)
    sizes = sizes_of(images)
    if set(sizes) == {wanted}:
        return None
    if fit == "refuse":
        found = sorted(set(sizes))
        shown = ", ".join(f"{height} x {width}" for height, width in found[:5])
        more = f" and {len(found) - 5} more sizes" if len(found) > 5 else ""
        raise CardError(
            f"this card takes crops of {wanted[0]} x {wanted[1]} px (height x width), the images "
            f"have {shown}{more}; choose ",
            Setting("fit", "shrink"),
            " (same scale: centred and padded; what is larger is shrunk), ",
            Setting("fit", "pad"),
            " (what is larger is cut) or ",
            Setting("fit", "resize"),
            " (another scale: stretched to the size)",
        )
    how: Fit = fit  # type: ignore[assignment]
    try:
        named = [f"image {number}" for number in range(len(sizes))]
        return choose_fitting(sizes, named, size=wanted, fit=how, cut=True)
    except DataError as error:
        raise CardError(error) from None


def _require_finite(images: NDArray[Any]) -> None:
    if images.dtype.kind != "f":
        return
    bad = [index for index, image in enumerate(images) if not np.isfinite(image).all()]
    if bad:
        shown = ", ".join(map(str, bad[:10])) + (", ..." if len(bad) > 10 else "")
        raise CardError(
            f"NaN or infinite pixels in {len(bad)} of {len(images)} images (counted from 0: "
            f"{shown}); {FILL}"
        )


def _require_range(images: NDArray[Any], config: CardConfig) -> None:
    """Refuse another intensity scale, such as 0 .. 1 for 0 .. 255; tolerate another exposure.

    Too bright: in some channel the 99th percentile lies beyond the training extremes by more
    than their whole span. Too flat: in every channel the span is below 1 % of the training one,
    yet not zero (a blank image is odd, but no matter of scale).
    """
    some = images[spread_out(len(images), images.shape)]
    low, high = np.percentile(some, (1, 99), axis=(0, 2, 3))
    span = some.max(axis=(0, 2, 3)).astype(np.float64) - some.min(axis=(0, 2, 3))
    known = config.ranges
    beyond = [
        config.dtype != "uint8"
        and (
            high[c] > part.high + (part.high - part.low)
            or low[c] < part.low - (part.high - part.low)
        )
        for c, part in enumerate(known)
    ]
    flat = [
        0.0 < span[c] < 0.01 * (part.typical_high - part.typical_low)
        for c, part in enumerate(known)
    ]
    if any(beyond) or all(flat):
        found = ", ".join(
            f"{part.channel} {some[:, c].min():g} to {some[:, c].max():g}"
            for c, part in enumerate(known)
        )
        raise CardError(
            f"the intensities are on another scale: this card was trained on {_ranges(config)}; "
            f"these images have {found}: give raw intensities, not rescaled ones"
        )


def _ranges(config: CardConfig) -> str:
    return ", ".join(f"{part.channel} {part.low:g} to {part.high:g}" for part in config.ranges)
