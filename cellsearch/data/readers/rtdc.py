"""Real-time deformability cytometry, .rtdc files of Shape-In: an event is a cell; extra rtdc."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsearch.data.arrays import listed
from cellsearch.data.hdf5_gaps import companions, filled_with, gaps, is_dataset, why_not_opened
from cellsearch.data.hdf5_probe import fatal
from cellsearch.data.natural_order import natural
from cellsearch.data.provenance import Provenance
from cellsearch.data.readers import RawCells, column_notes
from cellsearch.data.readers.cell_table import (
    LabelOptions,
    by_folder,
    labelled_by,
    many_celled,
    table_of,
)
from cellsearch.data.readers.options import new_labels
from cellsearch.data.readers.self_described import refuse_missing
from cellsearch.data.readers.spool import spooled
from cellsearch.data.readers.stack import find_groups, name_channels, relative
from cellsearch.errors import ConfigError, DataError, ReadError
from cellsearch.util.json_text import from_json
from cellsearch.util.messages import Setting, first_line
from cellsearch.util.progress import Progress
from cellsearch.util.yaml_files import near_miss

SUFFIXES = (".rtdc",)
SCORES = "ml_score_"
MARGIN = 1.25
"""Side of the crop to the width or height that 99 % of the events do not exceed."""

STEP = 8
SIDES = (16, 256)


class Options(LabelOptions):
    """Options of .rtdc files."""

    crop: Literal["event", "none"] = Field(
        "event",
        description="a square about each event's centre, its side by size; none: the whole image",
    )
    masks: Literal["ignore", "apply", "channels"] = Field(
        "ignore",
        description="contours of the file: left out; pixels outside become the image's median; a "
        "further channel",
    )
    class_feature: str | None = Field(
        None, description="feature with the class of each event, such as userdef1 or ml_class"
    )
    groups: Literal["none", "file", "sample"] = Field(
        "none", description="what a split must keep together: a file, or a sample as it is named"
    )


@dataclass(eq=False)
class _File:
    """What one file tells of its events before a pixel is read.

    Attributes:
        path: of the file.
        label: of its folder.
        numbers: (N,) index of each event, from 1.
        shape: (height, width) of an image, px.
        centres: (N, 2) y and x, px.
        largest: (N,) the larger side of each event's bounding box, px; NaN where it is not known.
        pixel_size_um: as the file has it.
        sample: as it is named.
        classes: N texts of the class feature.
    """

    path: Path
    label: str
    numbers: NDArray[np.int64]
    shape: tuple[int, int]
    centres: NDArray[np.float64]
    largest: NDArray[np.float64]
    pixel_size_um: float | None
    sample: str
    classes: list[str] = field(default_factory=list)


def files(root: Path, options: Options) -> list[Path]:
    """The files, those that their links lead to, and the table of labels."""
    found = [path for path, _ in many_celled(root, SUFFIXES, options)]
    table = table_of(root, options)
    return [*found, *_linked(found), *([table] if table else [])]


def _linked(paths: Sequence[Path]) -> list[Path]:
    """Files that hold images of others: what is wrong with them is said when they are read."""
    try:
        import h5py
    except ImportError:
        return []
    linked: set[Path] = set()
    dead = fatal(paths)
    for path in paths:
        if path in dead:
            continue
        try:
            with h5py.File(path, "r") as file:
                for place in (place for basin in _basins(file) for place in _places(basin)):
                    beside = (Path(place), path.parent / place, path.parent / Path(place).name)
                    linked |= {each.resolve() for each in beside if each.is_file()}
                images = file["events/image"]
                linked |= {Path(images.file.filename)} | companions(images)
        except (OSError, RuntimeError, KeyError, ValueError):
            continue
    return sorted(linked - set(paths))


def read(root: Path, options: Options, on_progress: Progress | None = None) -> RawCells:
    """Read a .rtdc file, a folder of them, or a folder of them a class.

    An image shows a piece of the channel, 80 x 250 px, say, with the event somewhere in it. It is
    cut to a square about the event's centre (``pos_x``, ``pos_y``, else the contour's). Without
    ``size`` the side is that which holds 99 % of the events with a margin, and a note tells it.
    Object numbers are dclab's ``index``, which counts events from 1. Labels: a table, else
    ``class_feature``, else the folder.

    Raises:
        DataError: no extra, files without images, no such feature.
        ReadError: files that dclab cannot read, or of which images were never written; all at
            once.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import dclab  # noqa: F401
    except ImportError:
        raise DataError(
            ".rtdc files need the extra 'rtdc': pip install 'cellsearch[rtdc]'"
        ) from None
    base = root if root.is_dir() else root.parent
    found = many_celled(root, SUFFIXES, options)
    held: list[_File] = []
    bad: list[str] = []
    dead = set(fatal([path for path, _ in found]))
    for done, (path, label) in enumerate(found):
        if path in dead:
            bad.append(f"{relative(path, base)}: damaged, so that the HDF5 library itself fails")
            continue
        if on_progress:
            on_progress("reading files", done, len(found))
        try:
            held.append(_looked_at(path, label, options))
        except ReadError as error:
            bad.append(f"{relative(path, base)}: {error}")
    if bad:
        raise ReadError(
            f"{len(bad)} unreadable {'file' if len(bad) == 1 else 'files'}: {listed(bad)}"
        )
    notes: list[str] = []
    cropping = _cropping(held, options, notes)
    padded: list[int] = []
    count = sum(len(file.numbers) for file in held)
    blocks = (block for file in held for block in _crops(file, options, cropping, padded))
    pixels = spooled(blocks, count, _stacked(options, cropping), root.name, on_progress)
    if padded:
        notes.append(
            f"{sum(padded):,} of {count:,} crops reach beyond the image and are filled up with "
            "the median of its border"
        )
    sources = [relative(file.path, base) for file in held for _ in file.numbers]
    numbers = [int(number) for file in held for number in file.numbers]
    labels = [file.label for file in held for _ in file.numbers]
    samples = [file.sample for file in held for _ in file.numbers]
    groups = find_groups(options.group_pattern, sources)
    if groups is None and options.groups != "none":
        groups = sources if options.groups == "file" else samples
    sizes = {file.pixel_size_um for file in held}
    if len(sizes) > 1:
        notes.append(
            "files of different pixel sizes: "
            + ", ".join(sorted({f"{size} um" if size else "not known" for size in sizes}))
            + "; a cell of the same size differs in px"
        )
    names = options.channels or (("image", "mask") if options.masks == "channels" else ("image",))
    raw = RawCells(
        images=pixels,
        labels=[""] * count,
        ids=[f"{s.rsplit('.', 1)[0]}/{n}" for s, n in zip(sources, numbers, strict=True)],
        sources=sources,
        object_numbers=numbers,
        channels=name_channels(names, pixels.shape[1], colour=False),
        groups=groups,
        name=root.resolve().stem,
        provenance=Provenance(pixel_size_um=sizes.pop() if len(sizes) == 1 else None).with_notes(
            *notes
        ),
    )
    table = table_of(root, options)
    if table is None and options.labelled and options.class_feature:
        raw = _by_feature(raw, [text for file in held for text in file.classes], root, options)
    else:
        raw = by_folder(root, raw, labels, options)
    return labelled_by(table, _told(raw, samples, options), options)


def _told(raw: RawCells, samples: Sequence[str], options: Options) -> RawCells:
    """With a note where samples could be the groups and are not."""
    if raw.groups is not None or options.groups != "none" or not any(raw.labels):
        return raw
    remedies = {"sample": column_notes.option("groups", "sample")}
    notes = column_notes.of_groups({"sample": list(samples)}, raw.labels, remedies=remedies)
    if not notes:
        return raw
    origin = (raw.provenance or Provenance()).with_notes(*notes)
    return replace(raw, provenance=origin)


def _by_feature(raw: RawCells, texts: Sequence[str], root: Path, options: Options) -> RawCells:
    names = new_labels(options.class_names, texts)
    refuse_missing(texts, f"{root.name}: {options.class_feature}", but=names or ())
    order = sorted(set(texts), key=natural)
    if names is not None:
        unknown = [text for text in order if text not in names]
        if unknown:
            raise DataError(f"option class_names: no name for the label {listed(unknown)}")
        texts = [names[text] for text in texts]
        order = [name for name in dict.fromkeys(names.values()) if name in set(texts)]
    return replace(raw, labels=list(texts), classes=tuple(order))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The events of a file, by dclab; nothing is fetched from elsewhere.

    Raises:
        ReadError: no such file, open in another program, or not one that dclab reads.
    """
    import dclab
    import h5py
    from dclab.rtdc_dataset.fmt_hdf5.base import OldFormatNotSupportedError

    if not path.is_file():
        raise ReadError("no such file")
    try:
        # dclab passes by locks, and would read what is still being written.
        with h5py.File(path, "r") as file:
            if "events" not in file:
                raise ReadError(
                    f"no .rtdc file: it holds no events, but {listed(list(file)) or 'nothing'}"
                )
            remote = any(basin.get("type") == "remote" for basin in _basins(file))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            events = dclab.new_dataset(path, enable_basins=not remote)
            with events:
                yield events
    except (ReadError, DataError, ConfigError, MemoryError):
        raise
    except OSError as error:
        raise ReadError(why_not_opened(error)) from None
    except (Exception, OldFormatNotSupportedError) as error:
        raise ReadError(f"cannot be read by dclab ({first_line(error)})") from None


def _basins(file: Any) -> list[dict[str, Any]]:
    """What an open file tells of others that hold features of its events, as dclab writes it."""
    group = file.get("basins")
    found: list[dict[str, Any]] = []
    for name in group if group is not None else ():
        lines = np.ravel(group[name][...]).tolist()
        texts = [
            line.decode("utf-8", "replace") if isinstance(line, bytes) else line for line in lines
        ]
        told = from_json("".join(texts))
        if isinstance(told, dict):
            found.append(told)
    return found


def _places(basin: Mapping[str, Any]) -> list[str]:
    return [str(place) for place in (*(basin.get("paths") or ()), *(basin.get("urls") or ()))]


def _looked_at(path: Path, label: str, options: Options) -> _File:
    with _opened(path) as events:
        if not len(events):
            raise ReadError("it holds no events")
        if "image" not in events:
            places = [place for each in events.basins_get_dicts() for place in _places(each)]
            where = f"; they lie in {listed(places)}: put that file beside it" if places else ""
            raise ReadError(f"it holds no images{where}")
        images = events["image"]
        if is_dataset(images) and (found := gaps(images)):
            raise ReadError(
                f"its images are not whole, and what is missing would read as "
                f"{filled_with(images)}: {listed(found)}"
            )
        if len(images) != len(events):
            raise ReadError(f"{len(images)} images for {len(events)} events")
        if options.masks != "ignore" and "mask" not in events:
            raise ReadError("it holds no masks; leave option masks out")
        height, width = (int(side) for side in np.shape(images[0])[:2])
        size = events.config["imaging"].get("pixel size")
        pixel = float(size) if size and size > 0 else None
        centres, largest = _placed(events, (height, width), pixel)
        return _File(
            path=path,
            label=label,
            numbers=np.asarray(events["index"][:], np.int64),
            shape=(height, width),
            centres=centres,
            largest=largest,
            pixel_size_um=pixel,
            sample=str(events.config["experiment"].get("sample", "")),
            classes=_classes(events, options),
        )


def _placed(
    events: Any, shape: tuple[int, int], pixel: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 2) centre, y and x, and (N,) larger side of each event, px."""
    count = len(events)
    centres = np.full((count, 2), np.nan)
    largest = np.full(count, np.nan)
    present = set(events.features_innate) | set(events.features_basin)
    if pixel and {"pos_x", "pos_y"} <= present:
        centres = np.stack([events["pos_y"][:], events["pos_x"][:]], axis=1) / pixel
    if pixel and {"size_x", "size_y"} <= present:
        largest = np.maximum(events["size_x"][:], events["size_y"][:]) / pixel
    lost = ~np.isfinite(centres).all(axis=1)
    if "mask" in present and (lost.any() or not np.isfinite(largest).all()):
        for event in range(count):
            rows, columns = np.nonzero(events["mask"][event])
            if len(rows):
                largest[event] = max(np.ptp(rows), np.ptp(columns)) + 1
                if lost[event]:
                    centres[event] = rows.mean(), columns.mean()
    lost = ~np.isfinite(centres).all(axis=1)
    centres[lost] = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    return centres.astype(np.float64), largest.astype(np.float64)


def _classes(events: Any, options: Options) -> list[str]:
    name = options.class_feature
    if name is None or not options.labelled:
        return []
    known = sorted(events.features_scalar)
    if name not in known or (name == "ml_class" and not _scores(events)):
        likely = [each for each in known if each.startswith(("userdef", "ml_"))]
        raise ConfigError(
            f"{Path(events.path).name}: option class_feature: no feature {name!r}"
            f"{near_miss(name, known)}; features that may hold classes: "
            f"{listed(likely) or 'none'}"
        )
    values = np.asarray(events[name][:], np.float64)
    if (gone := int(np.isnan(values).sum())) > 0:
        raise ReadError(
            f"{name} is not a number for {gone:,} of {len(values):,} events: leave these events "
            "out, or give the classes by a table"
        )
    if (values % 1).any():
        raise ReadError(f"{name} holds fractions, such as {values[values % 1 > 0][0]:g}: no class")
    if name == "ml_class":
        codes = _scores(events)
        return [codes[int(value)] for value in values]
    return [str(int(value)) for value in values]


def _scores(events: Any) -> list[str]:
    """Codes of the classes that a model gave scores for, in the order in which ml_class counts."""
    return [
        name.removeprefix(SCORES) for name in sorted(events.features) if name.startswith(SCORES)
    ]


def _cropping(held: Sequence[_File], options: Options, notes: list[str]) -> tuple[int, int] | None:
    """(height, width) of the crops about the events; None where images are taken whole."""
    if options.crop == "none" or options.fit == "resize":
        shapes = sorted({file.shape for file in held})
        if len(shapes) > 1 and options.size is None:
            raise DataError(
                f"images of {len(shapes)} sizes (height x width, px): "
                f"{listed([f'{h}x{w}' for h, w in shapes])}; choose one: ",
                Setting("size", "HEIGHTxWIDTH", reader=True),
            )
        return None
    if options.size is not None:
        return options.size
    smallest = min(min(file.shape) for file in held)
    largest = np.concatenate([file.largest for file in held])
    known = largest[np.isfinite(largest)]
    side = smallest
    why = "the height of the images, as the files do not give the size of an event"
    if len(known):
        wanted = MARGIN * float(np.percentile(known, 99))
        side = min(smallest, max(SIDES[0], min(SIDES[1], STEP * math.ceil(wanted / STEP))))
        why = f"99 % of the events are at most {np.percentile(known, 99):.0f} px wide and high"
    notes.append(
        f"each event was cut to {side}x{side} px about its centre ({why}); option size takes "
        "another side"
    )
    return side, side


def _stacked(options: Options, cropping: tuple[int, int] | None) -> Options:
    """Options by which crops are stacked: those that are cut already are not cut again."""
    return options if cropping is None else options.model_copy(update={"size": cropping})


def _crops(
    file: _File, options: Options, size: tuple[int, int] | None, padded: list[int]
) -> Iterator[NDArray[Any]]:
    """(1, C, H, W) of each event; ``padded`` counts those that reach beyond the image."""
    with _opened(file.path) as events:
        for event, centre in enumerate(file.centres):
            image = np.asarray(events["image"][event])
            if image.ndim == 3:  # grey, saved as colour by old versions
                image = image[..., 0]
            planes = image[None]
            if options.masks != "ignore":
                mask = np.asarray(events["mask"][event]) > 0
                if options.masks == "apply":
                    level = np.median(image).astype(image.dtype)
                    planes = np.where(mask, image, level)[None]
                else:
                    planes = np.stack([image, mask.astype(image.dtype)])
            if size is not None:
                planes, beyond = cut_about(planes, centre, size)
                padded.extend([1] * beyond)
            yield planes[None]


def cut_about(
    planes: NDArray[Any], centre: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[Any], bool]:
    """A part of (C, h, w) planes about a centre (y, x), px.

    Returns:
        (C, *size), and whether it reaches beyond the planes; there it is filled with the median of
        each plane's border.
    """
    first = [round(float(at)) - side // 2 for at, side in zip(centre, size, strict=True)]
    inner = [
        (max(0, start), min(whole, start + side))
        for start, side, whole in zip(first, size, planes.shape[1:], strict=True)
    ]
    (top, bottom), (left, right) = inner
    if (bottom - top, right - left) == tuple(size):
        return planes[:, top:bottom, left:right], False
    border = np.concatenate(
        [planes[:, 0], planes[:, -1], planes[:, :, 0], planes[:, :, -1]], axis=1
    )
    cut = np.empty((len(planes), *size), planes.dtype)
    cut[:] = np.median(border, axis=1).astype(planes.dtype)[:, None, None]
    if bottom > top and right > left:
        row, column = top - first[0], left - first[1]
        cut[:, row : row + bottom - top, column : column + right - left] = planes[
            :, top:bottom, left:right
        ]
    return cut, True
